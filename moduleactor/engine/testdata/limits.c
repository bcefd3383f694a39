// Opens directories until that fails, and prints how many there were; lists a directory; polls as much as argv[2] says, and one more; then prints
// as many bytes as argv[1] says.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int list(void) {
	char name[100];
	for (int i = 0; i < 100; i++) {
		snprintf(name, sizeof name, "/file%d", i);
		close(open(name, O_CREAT | O_WRONLY, 0600));
	}
	DIR *d = opendir("/");
	int n = 0;
	for (struct dirent *e; (e = readdir(d));) n += e->d_type == DT_REG;
	closedir(d);
	return n;
}

int main(int argc, char **argv) {
	printf("%d listed\n", list());
	int n = 0;
	while (open("/", O_RDONLY | O_DIRECTORY) >= 0) n++;
	printf("%d open, errno %d\n", n, errno);
	int most = argc > 2 ? atoi(argv[2]) : 4096; // the clock is one of them
	struct pollfd *fds = calloc(most, sizeof *fds);
	for (int i = 0; i < most; i++) fds[i] = (struct pollfd){.fd = 1, .events = POLLOUT};
	printf("poll %d", poll(fds, most - 1, 0) >= 0);
	printf(", then errno %d\n", poll(fds, most, 0) < 0 ? errno : 0);
	for (int i = argc > 1 ? atoi(argv[1]) : 0; i > 0; i--) putchar(i % 64 ? 'x' : '\n');
	return 0;
}
