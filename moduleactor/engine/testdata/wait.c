// Waits in the way that its argument names, after it has said so on stderr; prints what it got.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static int number(const char *name) {
	char *s = getenv(name);
	if (!s) { printf("no %s\n", name); exit(2); }
	return atoi(s);
}

static int ready(int fd, short events, int timeout) {
	struct pollfd p = {.fd = fd, .events = events};
	int n = poll(&p, 1, timeout);
	return n == 1 && (p.revents & events) ? 1 : n;
}

static void say(const char *s) { write(2, s, strlen(s)); }

int main(int argc, char **argv) {
	const char *how = argv[1];
	char buf[100];
	int n = 0;
	say("waiting\n");
	if (!strcmp(how, "sleep")) {
		sleep(100000);
	} else if (!strcmp(how, "read")) {
		while ((n = read(0, buf, sizeof buf)) > 0) fwrite(buf, 1, n, stdout), fflush(stdout);
		printf("end %d\n", n);
	} else if (!strcmp(how, "poll")) {
		printf("timeout %d\n", ready(0, POLLIN, 1));
		say("polling\n");
		printf("ready %d\n", ready(0, POLLIN, -1));
		n = read(0, buf, sizeof buf);
		printf("got %.*s\n", n, buf);
	} else if (!strcmp(how, "write")) {
		for (;;) if (write(1, buf, sizeof buf) < 0) return 3;
	} else if (!strcmp(how, "call")) {
		struct timespec t;
		for (;;) clock_gettime(CLOCK_MONOTONIC, &t);
	} else if (!strcmp(how, "accept")) {
		int fd = number("WAZLET_LISTEN_FDS_START");
		printf("%s %s\n", getenv("LISTEN_FDS"), getenv("LISTEN_FDNAMES"));
		int conn = accept(fd, NULL, NULL);
		printf("accepted %d\n", conn >= 0);
		n = recv(conn, buf, 2, MSG_PEEK);
		printf("peek %.*s\n", n, buf);
		n = recv(conn, buf, 5, MSG_WAITALL);
		printf("all %.*s\n", n, buf);
		printf("ready %d\n", ready(conn, POLLIN, -1));
		while ((n = read(conn, buf, sizeof buf)) > 0) send(conn, buf, n, 0);
		printf("shutdown %d %d\n", shutdown(conn, SHUT_WR), close(conn));
		fcntl(fd, F_SETFL, O_NONBLOCK);
		printf("nonblocking %d\n", accept(fd, NULL, NULL) < 0 && errno == EAGAIN);
	} else if (!strcmp(how, "flags")) { // looks at them, as Go does
		int fd = number("WAZLET_LISTEN_FDS_START");
		printf("nonblocking %d\n", (fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
		printf("accept %d\n", accept(fd, NULL, NULL) < 0 && errno == EAGAIN);
		fcntl(fd, F_SETFL, 0);
		say("blocking\n");
		printf("accepted %d\n", accept(fd, NULL, NULL) >= 0);
	} else if (!strcmp(how, "datagram")) {
		int fd = number("WAZLET_LISTEN_FDS_START");
		n = recv(fd, buf, sizeof buf, 0);
		printf("datagram %.*s\n", n, buf);
		send(fd, "back", 4, 0);
	} else if (!strcmp(how, "signal")) {
		int fd = number("WAZLET_SIGNAL_FD");
		printf("ready %d\n", ready(fd, POLLIN, -1));
		printf("got %zd", read(fd, buf, 1));
		printf(" %d\n", buf[0]);
	}
	return 0;
}
