// Says that it is up and sleeps for ever.
#include <stdio.h>
#include <unistd.h>

int main(void) {
	puts("up");
	printf("unfinished");
	fflush(stdout);
	for (;;) sleep(1000);
}
