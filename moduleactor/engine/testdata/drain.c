// Serves as its argument says, until it is told to finish; prints what that looked like.
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void say(const char *s) { write(2, s, strlen(s)); }

static int listener(void) { return atoi(getenv("WAZLET_LISTEN_FDS_START")); }

// serve echoes one client's bytes; the rest happens while it is connected.
static int serve(void) {
	int conn = accept(listener(), NULL, NULL);
	say("accepted\n");
	return conn;
}

static void echo(int conn) {
	char c;
	while (read(conn, &c, 1) == 1) write(conn, &c, 1);
	close(conn);
	say("closed\n");
}

int main(int argc, char **argv) {
	const char *how = argv[1];
	char c;
	if (!strcmp(how, "loop")) { // as most servers are written
		int conn = serve();
		int next = accept(listener(), NULL, NULL);
		printf("accept %d\n", next < 0 ? errno : -1);
		echo(conn);
		return 5;
	} else if (!strcmp(how, "poll")) {
		int conn = serve();
		struct pollfd p = {.fd = listener(), .events = POLLIN};
		printf("poll %d", poll(&p, 1, -1));
		printf(", accept %d\n", accept(listener(), NULL, NULL) < 0 ? errno : -1);
		echo(conn);
		return 5;
	} else if (!strcmp(how, "deaf")) { // does not look at its listener
		echo(serve());
		sleep(100000);
	} else if (!strcmp(how, "read")) {
		int conn = serve();
		printf("read %zd\n", read(0, &c, 1));
		struct pollfd p = {.fd = 0, .events = POLLIN};
		printf("poll %d, %d\n", poll(&p, 1, -1), p.revents & POLLHUP ? 1 : 0);
		echo(conn);
	} else if (!strcmp(how, "idle")) {
		say("idle\n");
		accept(listener(), NULL, NULL);
		sleep(100000);
	} else if (!strcmp(how, "signals")) { // ends with SIGHUP, which is 1
		say("waiting\n");
		while (read(atoi(getenv("WAZLET_SIGNAL_FD")), &c, 1) == 1) {
			fprintf(stderr, "signal %d\n", c);
			if (c == 1) return 7;
		}
	}
	return 0;
}
