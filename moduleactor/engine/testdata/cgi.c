/* A CGI program whose path says how it behaves. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static volatile int calls;

__attribute__((noinline)) static int spin(unsigned n) { /* without a loop */
	calls++;
	return n ? spin(n - 1) ^ spin(n - 1) : calls;
}

int main(int argc, char **argv) {
	const char *path = getenv("PATH_INFO");
	char buf[4096];
	ssize_t n;

	if (!path)
		return 1;
	if (!strcmp(path, "/trap"))
		__builtin_trap();
	if (!strcmp(path, "/spin"))
		for (volatile int i = 0;; i++)
			;
	if (!strcmp(path, "/recurse"))
		return spin(60);
	if (!strcmp(path, "/sleep"))
		sleep(3600);
	if (!strcmp(path, "/hoard"))
		for (char *volatile p; (p = malloc(1 << 20)); memset(p, 1, 1 << 20))
			;
	printf("Content-Type: text/plain\n\n");
	if (!strcmp(path, "/echo")) {
		fflush(stdout);
		while ((n = read(0, buf, sizeof buf)) > 0)
			if (write(1, buf, n) != n)
				return 1;
		return n < 0;
	}
	fprintf(stderr, "asked for %s\n", path);
	printf("%s %s %s", argv[argc - 1], getenv("OWN"), getenv("QUERY_STRING"));
	return 0;
}
