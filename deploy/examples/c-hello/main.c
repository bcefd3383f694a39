/* Greets on both streams, shows what it was given, and ends. */
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv) {
	const char *greeting = getenv("GREETING");

	puts("hello from C!");
	fprintf(stderr, "hello from C on stderr!\n");
	for (int i = 1; i < argc; i++)
		printf("argument %d: %s\n", i, argv[i]);
	printf("GREETING: %s\n", greeting ? greeting : "");
	return 0;
}
