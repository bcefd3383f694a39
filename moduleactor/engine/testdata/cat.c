// Copies stdin to stdout.
#include <unistd.h>

int main(void) {
	char buf[512];
	for (ssize_t n; (n = read(0, buf, sizeof buf)) > 0;)
		if (write(1, buf, n) != n) return 1;
	return 0;
}
