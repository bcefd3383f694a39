// Works until it is told to end, and then has the Pod's grace period to put its work away. Its Pod or its image must ask
// for signals: wazlet.dev/signals: fd.
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int main(void) {
	const char *number = getenv("WAZLET_SIGNAL_FD");
	if (!number) {
		fprintf(stderr, "no signals: the Pod needs the annotation wazlet.dev/signals: fd\n");
		return 1;
	}
	struct pollfd p = {.fd = atoi(number), .events = POLLIN};
	for (int n = 0;; n++) {
		printf("work %d\n", n);
		char c;
		if (poll(&p, 1, 1000) == 1 && read(p.fd, &c, 1) == 1) {
			printf("signal %d after %d\n", c, n);
			if (c == 15) return 3;
		}
	}
}
