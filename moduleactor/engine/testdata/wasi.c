// Calls the functions of WASI as they are, of the version that it is built for (-DUNSTABLE), and prints what is not as it
// should be.
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <wasi/api.h>

#ifdef UNSTABLE
#define MODULE "wasi_unstable"
enum { SET = 2, CUR = 0, END = 1 };
#else
#define MODULE "wasi_snapshot_preview1"
enum { SET = 0, CUR = 1, END = 2 };
#endif
#define F(name) __attribute__((import_module(MODULE), import_name(#name))) int32_t name

typedef uint32_t ptr;
F(fd_close)(uint32_t fd);
F(fd_seek)(uint32_t fd, int64_t offset, uint32_t whence, uint64_t *at);
F(fd_tell)(uint32_t fd, uint64_t *at);
F(fd_read)(uint32_t fd, const void *iovs, uint32_t n, uint32_t *got);
F(fd_write)(uint32_t fd, const void *iovs, uint32_t n, uint32_t *got);
F(fd_pread)(uint32_t fd, const void *iovs, uint32_t n, uint64_t at, uint32_t *got);
F(fd_pwrite)(uint32_t fd, const void *iovs, uint32_t n, uint64_t at, uint32_t *got);
F(fd_fdstat_get)(uint32_t fd, void *st);
F(fd_fdstat_set_flags)(uint32_t fd, uint32_t flags);
F(fd_fdstat_set_rights)(uint32_t fd, uint64_t base, uint64_t inheriting);
F(fd_filestat_set_size)(uint32_t fd, uint64_t size);
F(fd_renumber)(uint32_t from, uint32_t to);
F(fd_readdir)(uint32_t fd, void *buf, uint32_t len, uint64_t cookie, uint32_t *used);
F(fd_advise)(uint32_t fd, uint64_t at, uint64_t len, uint32_t advice);
F(fd_allocate)(uint32_t fd, uint64_t at, uint64_t len);
F(fd_datasync)(uint32_t fd);
F(fd_sync)(uint32_t fd);
F(fd_prestat_get)(uint32_t fd, void *out);
F(path_open)(uint32_t fd, uint32_t lookup, const char *path, uint32_t len, uint32_t oflags, uint64_t base, uint64_t inheriting, uint32_t flags, uint32_t *out);
F(path_symlink)(const char *target, uint32_t tlen, uint32_t fd, const char *path, uint32_t len);
F(path_readlink)(uint32_t fd, const char *path, uint32_t len, void *buf, uint32_t buflen, uint32_t *used);
F(path_link)(uint32_t fd, uint32_t lookup, const char *path, uint32_t len, uint32_t to, const char *target, uint32_t tlen);
F(path_rename)(uint32_t fd, const char *path, uint32_t len, uint32_t to, const char *target, uint32_t tlen);
F(path_create_directory)(uint32_t fd, const char *path, uint32_t len);
F(path_remove_directory)(uint32_t fd, const char *path, uint32_t len);
F(path_unlink_file)(uint32_t fd, const char *path, uint32_t len);
F(random_get)(void *buf, uint32_t len);
F(clock_time_get)(uint32_t id, uint64_t precision, uint64_t *t);
F(clock_res_get)(uint32_t id, uint64_t *t);
F(proc_raise)(uint32_t sig);

enum { READ = 1 << 1, SEEK = 1 << 2, TELL = 1 << 5, WRITE = 1 << 6, SIZE = 1 << 22 };
enum { ALL = (1 << 30) - 1, ROOT = 3, CREAT = 1, DIRECTORY = 2, EXCL = 4, TRUNC = 8 };
enum { EAGAIN_ = 6, EBADF_ = 8, EBUSY_ = 10, EEXIST_ = 20, EFAULT_ = 21, EINVAL_ = 28, EISDIR_ = 31, ELOOP_ = 32, EMFILE_ = 33, ENAMETOOLONG_ = 37,
	ENOENT_ = 44, ENOSPC_ = 51, ENOSYS_ = 52, ENOTDIR_ = 54, ENOTSUP_ = 58, EPERM_ = 63, ESPIPE_ = 70, EXDEV_ = 75, ENOTCAPABLE_ = 76 };

static int failed;
static void is(const char *what, int64_t got, int64_t want) {
	if (got != want) { printf("failed: %s: %lld, want %lld\n", what, (long long)got, (long long)want); failed = 1; }
}

static int open_(const char *path, int lookup, int oflags, uint64_t rights, int flags, uint32_t *fd) {
	return path_open(ROOT, lookup, path, strlen(path), oflags, rights, ALL, flags, fd);
}

static struct { void *p; uint32_t n; } vec;
static uint32_t n;
static int put(uint32_t fd, const char *s) { vec.p = (void *)s, vec.n = strlen(s); return fd_write(fd, &vec, 1, &n); }
static char buf[4096];
static int get(uint32_t fd, uint32_t len) { memset(buf, 0, sizeof buf), vec.p = buf, vec.n = len; return fd_read(fd, &vec, 1, &n); }
static int content(const char *path, const char *want) {
	uint32_t fd;
	if (open_(path, 1, 0, READ, 0, &fd) || get(fd, sizeof buf)) return 0;
	return fd_close(fd) == 0 && !strcmp(buf, want);
}
#define P(s) s, sizeof s - 1

static struct { uint8_t type; uint16_t flags; uint64_t base, inheriting; } st;

static void rights(void) {
	uint32_t fd, other;
	is("open", open_("r", 0, CREAT, READ | WRITE | SEEK | TELL, 0, &fd), 0);
	is("fdstat", fd_fdstat_get(fd, &st), 0);
	is("base", st.base, READ | WRITE | SEEK | TELL);
	is("inheriting of a file", st.inheriting, 0);
	is("type", st.type, 4);
	is("no right to set the size", fd_filestat_set_size(fd, 1), ENOTCAPABLE_);
	is("no right to allocate", fd_allocate(fd, 0, 1), ENOTCAPABLE_);
	is("drop", fd_fdstat_set_rights(fd, READ | TELL, 0), 0);
	is("write", put(fd, "x"), ENOTCAPABLE_);
	is("get it back", fd_fdstat_set_rights(fd, READ | WRITE | TELL, 0), ENOTCAPABLE_);
	uint64_t at;
	is("seek", fd_seek(fd, 1, SET, &at), ENOTCAPABLE_);
	is("ask for the place", fd_seek(fd, 0, CUR, &at), 0);
	is("close", fd_close(fd), 0);
	is("close again", fd_close(fd), EBADF_);
	is("open a directory", path_create_directory(ROOT, P("dir")), 0);
	is("open a directory", path_open(ROOT, 0, P("dir"), DIRECTORY, ALL & ~(uint64_t)WRITE & ~(1 << 8), READ, 0, &fd), 0);
	is("what it hands on", path_open(fd, 0, P("f"), CREAT, READ | WRITE, 0, 0, &other), 0);
	is("write without the right", put(other, "x"), ENOTCAPABLE_);
	is("close", fd_close(other), 0);
	is("path_open at a file", path_open(1, 0, P("f"), 0, READ, 0, 0, &other), ENOTDIR_);
	is("drop open", fd_fdstat_set_rights(fd, 0, 0), 0);
	is("open without the right", path_open(fd, 0, P("f"), 0, READ, 0, 0, &other), ENOTCAPABLE_);
	is("close", fd_close(fd), 0);
}

static void files(void) {
	uint32_t fd, other;
	uint64_t at;
	is("open", open_("f", 0, CREAT | EXCL, ALL, 1, &fd), 0); // append
	is("again", open_("f", 0, CREAT | EXCL, ALL, 0, &other), EEXIST_);
	is("write", put(fd, "0123"), 0);
	vec.p = "ab", vec.n = 2;
	is("pwrite does not append", fd_pwrite(fd, &vec, 1, 1, &n), 0);
	is("seek", fd_seek(fd, 0, SET, &at), 0);
	is("append", put(fd, "45"), 0);
	is("content", content("f", "0ab345"), 1);
	is("leave append", fd_fdstat_set_flags(fd, 0), 0);
	is("seek", fd_seek(fd, -1, END, &at) || at != 5, 0);
	is("overwrite", put(fd, "X"), 0);
	is("content", content("f", "0ab34X"), 1);
	is("seek before the start", fd_seek(fd, -1, SET, &at), EINVAL_);
	is("seek from nowhere", fd_seek(fd, 0, 3, &at), EINVAL_);
	is("sync flags cannot be set", fd_fdstat_set_flags(fd, 16), ENOTSUP_);
	is("unknown flags", fd_fdstat_set_flags(fd, 32), EINVAL_);
	is("truncate", fd_filestat_set_size(fd, 3), 0);
	is("truncate below zero", fd_filestat_set_size(fd, -1), EINVAL_);
	is("allocate", fd_allocate(fd, 0, 10), 0);
	is("pread behind the end", (vec.p = buf, vec.n = 10, fd_pread(fd, &vec, 1, 10, &n)) || n, 0);
	is("pread below zero", fd_pread(fd, &vec, 1, -1, &n), EINVAL_);
	is("advise", fd_advise(fd, 0, 10, 5), 0);
	is("advise what", fd_advise(fd, 0, 10, 6), EINVAL_);
	is("sync", fd_sync(fd) || fd_datasync(fd), 0);
	is("many vectors", fd_write(fd, &vec, 1025, &n), EINVAL_);
	is("tell a stream", fd_tell(1, &at), ESPIPE_);
	is("sync flags", open_("sync", 0, CREAT, ALL, 2 | 8 | 16, &other) || fd_fdstat_get(other, &st), 0);
	is("are kept", st.flags, 2 | 8 | 16);
	is("truncate by opening", open_("f", 0, TRUNC, WRITE, 0, &other), 0);
	is("content", content("f", ""), 1);
	is("create a directory by opening", open_("d", 0, CREAT | DIRECTORY, ALL, 0, &other), EINVAL_);
}

static void links(void) {
	uint32_t fd, used;
	is("file", open_("target", 0, CREAT, WRITE, 0, &fd) || put(fd, "t"), 0);
	is("symlink", path_symlink(P("target"), ROOT, P("soft")), 0);
	is("symlink to nothing", path_symlink(P("nothing"), ROOT, P("dangling")), 0);
	is("symlink to itself", path_symlink(P("loop"), ROOT, P("loop")), 0);
	is("absolute symlink", path_symlink(P("/target"), ROOT, P("abs")), EPERM_);
	is("follow", open_("soft", 1, 0, READ, 0, &fd), 0);
	is("do not follow", open_("soft", 0, 0, READ, 0, &fd), ELOOP_);
	is("dangling", open_("dangling", 1, 0, READ, 0, &fd), ENOENT_);
	is("loop", open_("loop", 1, 0, READ, 0, &fd), ELOOP_);
	memset(buf, '.', sizeof buf);
	is("readlink cuts", path_readlink(ROOT, P("soft"), buf, 3, &used) || used != 3 || memcmp(buf, "tar.", 4), 0);
	is("readlink into nothing", path_readlink(ROOT, P("soft"), buf, 0, &used) || used, 0);
	is("readlink of a file", path_readlink(ROOT, P("target"), buf, 9, &used), EINVAL_);
	is("hard link", path_link(ROOT, 0, P("target"), ROOT, P("hard")), 0);
	is("hard link that follows", path_link(ROOT, 1, P("soft"), ROOT, P("hard2")), EINVAL_);
	is("content", content("hard", "t"), 1);
	is("rename over", path_rename(ROOT, P("hard"), ROOT, P("soft")), 0);
	is("rename into a mount", path_rename(ROOT, P("target"), ROOT, P("mnt/x")), EXDEV_);
	is("link into a mount", path_link(ROOT, 0, P("target"), ROOT, P("mnt/x")), EXDEV_);
	is("remove a mount", path_remove_directory(ROOT, P("mnt")), EBUSY_);
	is("the single file", content("conf", "single"), 1);
	is("unlink the single file", path_unlink_file(ROOT, P("conf")), EBUSY_);
	is("absolute path", open_("/target", 1, 0, READ, 0, &fd), EPERM_);
	is("parent", open_("../target", 1, 0, READ, 0, &fd), EPERM_);
	static char longer[5000];
	memset(longer, 'a', sizeof longer);
	is("long path", path_open(ROOT, 0, longer, sizeof longer, 0, READ, 0, 0, &fd), ENAMETOOLONG_);
}

static void table(void) {
	uint32_t a, b, fd = 0;
	is("open", open_("a", 0, CREAT, ALL, 0, &a) || open_("b", 0, CREAT, ALL, 0, &b) || put(a, "a") || put(b, "b"), 0);
	is("renumber", fd_renumber(a, b), 0);
	is("the old number", put(a, "x"), EBADF_);
	is("the new number", put(b, "2"), 0);
	is("content", content("a", "a2") && content("b", "b"), 1);
	is("renumber to itself", fd_renumber(b, b), 0);
	is("renumber to what is closed", fd_renumber(b, a), EBADF_);
	is("renumber what is closed", fd_renumber(a, b), EBADF_);
	is("the lowest is taken", open_("c", 0, CREAT, ALL, 0, &fd) || fd != a, 0);
	is("prestat of a file", fd_prestat_get(b, buf), EBADF_);
	int err;
	while ((err = open_("c", 0, 0, READ, 0, &fd)) == 0);
	is("too many", err, EMFILE_);
	is("as many as there may be", fd, 63);
	for (; fd > b; fd--) fd_close(fd);
}

static void devices(void) {
	uint32_t fd, i;
	uint64_t t;
	const char *names[] = {"dev/null", "dev/zero", "dev/full", "dev/random", "dev/urandom", "dev/stdin", "dev/stdout", "dev/stderr"};
	for (i = 0; i < 8; i++) {
		is(names[i], open_(names[i], 1, 0, READ | WRITE, 0, &fd), 0);
		if (i == 0) is("null", get(fd, 10) || n != 0 || put(fd, "x") || n != 1, 0);
		if (i == 1) is("zero", get(fd, 10) || n != 10 || buf[9] != 0, 0);
		if (i == 2) is("full", put(fd, "x"), ENOSPC_);
		if (i == 3) is("random", get(fd, 32) || n != 32 || !memcmp(buf, buf + 16, 16), 0);
		if (i == 5) is("stdin", get(fd, 32) || n != 0, 0);
		if (i == 6) is("stdout", put(fd, "by device\n"), 0);
		is("close", fd_close(fd), 0);
	}
	is("stdout is still open", put(1, "by number\n"), 0);
	is("open /dev", open_("dev", 1, DIRECTORY, READ, 0, &i), ENOENT_);
	is("make /dev", path_create_directory(ROOT, P("dev")) || path_open(ROOT, 1, P("dev"), DIRECTORY, ALL & ~(uint64_t)WRITE & ~(1 << 8), ALL, 0, &i), 0);
	is("a device in /dev", path_open(i, 1, P("full"), 0, WRITE, 0, 0, &fd) || put(fd, "x") != ENOSPC_, 0);
	is("a device is no directory", open_("dev/null", 1, DIRECTORY, READ, 0, &fd), ENOTDIR_);
	is("CPU clock", clock_time_get(2, 0, &t), ENOTSUP_);
	is("no clock", clock_res_get(9, &t), EINVAL_);
	is("raise", proc_raise(1), ENOSYS_);
	is("random to nowhere", random_get((void *)0xfffffff0, 100), EFAULT_);
}

// list counts the entries of a directory, with a buffer that cuts nearly every one.
static void list(void) {
	uint32_t fd, used, files = 0, round;
	is("mkdir", path_create_directory(ROOT, P("list")), 0);
	for (int i = 0; i < 300; i++) {
		sprintf(buf, "list/%0100d", i);
		if (open_(buf, 0, CREAT, WRITE, 0, &fd) || fd_close(fd)) is("create", 0, 1);
	}
	is("open", path_open(ROOT, 0, P("list"), DIRECTORY, ALL & ~(uint64_t)WRITE & ~(1 << 8), ALL, 0, &fd), 0);
	for (round = 0; round < 2; round++) {
		uint64_t cookie = 0;
		files = 0;
		do {
			is("readdir", fd_readdir(fd, buf, 300, cookie, &used), 0);
			for (uint32_t at = 0; at + 24 <= used;) {
				uint32_t len;
				memcpy(&len, buf + at + 16, 4);
				if (at + 24 + len > used) break;
				memcpy(&cookie, buf + at, 8);
				at += 24 + len, files++;
			}
		} while (used == 300);
		is("entries", files, 302);
	}
	is("an old cookie", fd_readdir(fd, buf, 300, 5, &used) || used != 300, 0);
	is("a cookie beyond", fd_readdir(fd, buf, 300, 1ULL << 60, &used) || used, 0);
	is("readdir of a file", fd_readdir(1, buf, 300, 0, &used), ENOTDIR_);
}

int main(void) {
	rights();
	files();
	links();
	table();
	devices();
	list();
	if (!failed) put(1, "ok\n");
	return failed;
}
