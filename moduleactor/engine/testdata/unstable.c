// Calls the three functions of wasi_unstable whose structures differ from preview 1; the rest of the program is preview 1.
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define UNSTABLE(name) __attribute__((import_module("wasi_unstable"), import_name(#name)))

int32_t u_fd_seek(int32_t fd, int64_t offset, int32_t whence, uint64_t *at) UNSTABLE(fd_seek);
struct filestat {
	uint64_t dev, ino;
	uint8_t type;
	uint32_t nlink;
	uint64_t size, atim, mtim, ctim;
};
_Static_assert(sizeof(struct filestat) == 56, "size of filestat");
int32_t u_fd_filestat_get(int32_t fd, struct filestat *st) UNSTABLE(fd_filestat_get);
int32_t u_path_filestat_get(int32_t fd, int32_t flags, const char *path, int32_t len, struct filestat *st) UNSTABLE(path_filestat_get);
struct subscription {
	uint64_t userdata;
	uint8_t type;
	uint64_t identifier;
	uint32_t clock;
	uint64_t timeout, precision;
	uint16_t flags;
};
_Static_assert(sizeof(struct subscription) == 56, "size of subscription");
struct event {
	uint64_t userdata;
	uint16_t error;
	uint8_t type;
	uint64_t nbytes;
	uint16_t flags;
};
_Static_assert(sizeof(struct event) == 32, "size of event");
int32_t u_poll_oneoff(struct subscription *in, struct event *out, int32_t n, uint32_t *nevents) UNSTABLE(poll_oneoff);

static int failed;
static void check(const char *what, int ok) {
	if (!ok) { printf("failed: %s\n", what); failed = 1; }
}

static void checkStat(const char *what, struct filestat *st, struct stat *want) {
	check(what, st->dev == want->st_dev && st->ino == want->st_ino && st->type == 4 && st->nlink == 1 && st->size == 10 &&
		st->mtim == want->st_mtim.tv_sec * 1000000000ULL + want->st_mtim.tv_nsec);
}

int main(void) {
	int fd = open("data", O_CREAT | O_RDWR | O_TRUNC, 0600);
	check("write", fd >= 0 && write(fd, "0123456789", 10) == 10);
	uint64_t at = 0;
	check("seek end", u_fd_seek(fd, -4, 1, &at) == 0 && at == 6);
	check("seek cur", u_fd_seek(fd, 1, 0, &at) == 0 && at == 7);
	check("seek set", u_fd_seek(fd, 3, 2, &at) == 0 && at == 3);
	check("seek invalid", u_fd_seek(fd, 3, 3, &at) == 28);

	struct stat want;
	check("fstat", fstat(fd, &want) == 0);
	struct { struct filestat st; char after[8]; } s;
	memset(&s, 7, sizeof s);
	check("fd_filestat_get", u_fd_filestat_get(fd, &s.st) == 0);
	checkStat("fd_filestat", &s.st, &want);
	check("nothing written behind it", !memcmp(s.after, "\7\7\7\7\7\7\7\7", 8));
	memset(&s, 7, sizeof s);
	check("path_filestat_get", u_path_filestat_get(3, 1, "data", 4, &s.st) == 0);
	checkStat("path_filestat", &s.st, &want);
	check("no such fd", u_fd_filestat_get(99, &s.st) == 8);

	// The last bytes of memory: preview 1's structure would not fit.
	struct filestat *last = (struct filestat *)(uintptr_t)(__builtin_wasm_memory_size(0) * 65536 - sizeof *last);
	check("at the end of memory", u_fd_filestat_get(fd, last) == 0);
	checkStat("filestat at the end of memory", last, &want);
	check("beyond memory", u_fd_filestat_get(fd, last + 1) == 21);

	struct subscription subs[2] = {
		{.userdata = 11, .type = 0, .identifier = 0xffffffffffffffff, .clock = 1, .timeout = 20000000},
		{.userdata = 22, .type = 0, .clock = 0, .timeout = 20000000},
	};
	struct subscription copy[2];
	memcpy(copy, subs, sizeof subs);
	struct event events[2];
	uint32_t n = 0;
	struct timespec a, b;
	clock_gettime(CLOCK_MONOTONIC, &a);
	check("poll", u_poll_oneoff(subs, events, 2, &n) == 0 && n >= 1 && events[0].userdata == 11 && events[0].error == 0);
	clock_gettime(CLOCK_MONOTONIC, &b);
	check("slept", (b.tv_sec - a.tv_sec) * 1000000000LL + b.tv_nsec - a.tv_nsec >= 20000000);
	check("subscriptions unchanged", !memcmp(copy, subs, sizeof subs));
	if (!failed) puts("ok");
	return failed;
}
