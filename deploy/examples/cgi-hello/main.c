/* A CGI program: each request is one run of it. */
#include <stdio.h>
#include <stdlib.h>

static const char *variable(const char *name) {
	const char *value = getenv(name);
	return value ? value : "";
}

int main(void) {
	const char *greeting = variable("GREETING");

	printf("Content-Type: text/plain\n\n");
	printf("%s %s from C!\n", *greeting ? greeting : "hello", variable("REMOTE_ADDR"));
	printf("you asked for %s %s%s%s\n", variable("REQUEST_METHOD"), variable("PATH_INFO"), *variable("QUERY_STRING") ? "?" : "",
	       variable("QUERY_STRING"));
	fprintf(stderr, "greeted %s\n", variable("REMOTE_ADDR"));
	return 0;
}
