// The smallest useful CGI program: it answers with what it was asked.
#include <stdio.h>
#include <stdlib.h>

int main(void) {
	const char *path = getenv("PATH_INFO"), *query = getenv("QUERY_STRING");
	printf("Content-Type: text/plain\n\nhello from %s?%s\n", path ? path : "", query ? query : "");
	return 0;
}
