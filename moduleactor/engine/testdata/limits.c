// Opens directories until that fails, and prints how many there were; polls too many descriptors; then prints as many bytes as its argument says.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv) {
	int n = 0;
	while (open("/", O_RDONLY | O_DIRECTORY) >= 0) n++;
	printf("%d open, errno %d\n", n, errno);
	static struct pollfd fds[4096]; // and the clock
	for (int i = 0; i < 4096; i++) fds[i] = (struct pollfd){.fd = 1, .events = POLLOUT};
	printf("poll %d", poll(fds, 4095, 0) >= 0);
	printf(", then errno %d\n", poll(fds, 4096, 0) < 0 ? errno : 0);
	for (int i = argc > 1 ? atoi(argv[1]) : 0; i > 0; i--) putchar(i % 64 ? 'x' : '\n');
	return 0;
}
