// Checks clocks, sleeping and polling; prints what failed.
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <fcntl.h>

static int failed;
static void check(const char *what, int ok) {
	if (!ok) { printf("failed: %s (%s)\n", what, strerror(errno)); failed = 1; }
}

static long long now(clockid_t id) {
	struct timespec t;
	check("clock_gettime", clock_gettime(id, &t) == 0);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void until(const char *what, clockid_t id, long long in) {
	long long at = now(id) + in;
	struct timespec t = {at / 1000000000LL, at % 1000000000LL};
	errno = clock_nanosleep(id, TIMER_ABSTIME, &t, NULL);
	check(what, errno == 0 && now(id) >= at);
}

int main(void) {
	printf("wall %lld\n", now(CLOCK_REALTIME) / 1000000000LL);
	until("absolute, monotonic", CLOCK_MONOTONIC, 20000000);
	until("absolute, realtime", CLOCK_REALTIME, 20000000);
	until("absolute, past", CLOCK_MONOTONIC, -5000000);

	long long from = now(CLOCK_MONOTONIC);
	check("usleep", usleep(20000) == 0 && now(CLOCK_MONOTONIC) - from >= 20000000);
	check("sched_yield", sched_yield() == 0);

	struct pollfd out = {.fd = 1, .events = POLLOUT};
	check("poll stdout", poll(&out, 1, -1) == 1 && (out.revents & POLLOUT));
	int fd = open("file", O_CREAT | O_RDWR, 0600);
	check("open", fd >= 0);
	struct pollfd in = {.fd = fd, .events = POLLIN};
	check("poll file", poll(&in, 1, 1000000) == 1 && (in.revents & POLLIN));

	unsigned char a[16], b[16];
	check("getentropy", getentropy(a, sizeof a) == 0 && getentropy(b, sizeof b) == 0 && memcmp(a, b, sizeof a) != 0);
	char c;
	check("stdin is empty", read(0, &c, 1) == 0);
	return failed;
}
