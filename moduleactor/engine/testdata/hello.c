// Prints its arguments and environment, and exits with the code in $CODE.
#include <stdio.h>
#include <stdlib.h>

extern char **environ;

int main(int argc, char **argv) {
	for (int i = 0; i < argc; i++) printf("arg %s\n", argv[i]);
	for (char **e = environ; *e; e++) printf("env %s\n", *e);
	fprintf(stderr, "to stderr\n");
	char *code = getenv("CODE");
	if (code) exit(atoi(code));
	return 0;
}
