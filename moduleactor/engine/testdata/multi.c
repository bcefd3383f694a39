// A multi-call program: what it does is its first argument, or its name.
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int copy(int from) {
	char buf[512];
	for (ssize_t n; (n = read(from, buf, sizeof buf)) > 0;)
		if (write(1, buf, n) != n) return 1;
	return 0;
}

int main(int argc, char **argv) {
	setvbuf(stdout, NULL, _IONBF, 0);
	const char *what = argc > 1 ? argv[1] : argv[0];
	if (!strcmp(what, "args")) {
		for (int i = 0; i < argc; i++) printf("%s\n", argv[i]);
		return 0;
	}
	if (!strcmp(what, "env")) { printf("%s\n", getenv(argv[2])); return 0; }
	if (!strcmp(what, "cat")) return argc > 2 ? copy(open(argv[2], O_RDONLY)) : copy(0);
	if (!strcmp(what, "write")) {
		int fd = open(argv[2], O_WRONLY | O_CREAT | O_TRUNC, 0644);
		return write(fd, argv[3], strlen(argv[3])) < 0;
	}
	if (!strcmp(what, "fail")) { printf("to stdout\n"); fprintf(stderr, "to stderr\n"); return atoi(argv[2]); }
	if (!strcmp(what, "trap")) __builtin_trap();
	if (!strcmp(what, "hoard")) { for (char *volatile p;;) if (!(p = malloc(1 << 20))) return 42; }
	if (!strcmp(what, "spin")) { puts("up"); for (volatile unsigned i = 0;; i++) {} }
	if (!strcmp(what, "idle")) { puts("up"); for (;;) sleep(1000); }
	if (!strcmp(what, "flood")) for (;;) puts("0123456789012345678901234567890123456789");
	if (!strcmp(what, "lines")) { // prints what it is sent, line by line
		char line[256];
		puts("ready");
		while (fgets(line, sizeof line, stdin)) { printf("got %s", line); fprintf(stderr, "heard %s", line); }
		puts("end of input");
		return 0;
	}
	fprintf(stderr, "no such program: %s\n", what);
	return 2;
}
