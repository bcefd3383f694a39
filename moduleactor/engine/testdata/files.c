// Uses the mounts /rw and /ro, the root and the termination message; prints what did not go as it should.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int failed;
static void check(const char *what, int ok) {
	if (!ok) { printf("failed: %s (%s)\n", what, strerror(errno)); failed = 1; }
}

static int put(const char *path, const char *text) {
	int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC, 0600);
	if (fd < 0) return -1;
	int n = write(fd, text, strlen(text));
	return close(fd) == 0 && n == (int)strlen(text) ? 0 : -1;
}

static int has(const char *path, const char *text) {
	char buf[100] = {0};
	int fd = open(path, O_RDONLY);
	if (fd < 0) return 0;
	int n = read(fd, buf, sizeof buf - 1);
	close(fd);
	return n >= 0 && !strcmp(buf, text);
}

int main(int argc, char **argv) {
	int rootReadOnly = argc > 1;
	check("read /ro/file", has("/ro/file", "from the host"));
	errno = 0;
	check("write /ro/file", put("/ro/file", "x") < 0 && errno == EROFS);
	check("make /rw/a and /rw/b", mkdir("/rw/a", 0700) == 0 && mkdir("/rw/b", 0700) == 0);
	check("write /rw/a/file", put("/rw/a/file", "from the guest") == 0);
	check("rename between directories", rename("/rw/a/file", "/rw/b/file") == 0);
	check("read it back", has("/rw/b/file", "from the guest"));
	check("remove /rw/a", rmdir("/rw/a") == 0);
	if (rootReadOnly) {
		errno = 0;
		check("write /file", put("/file", "x") < 0 && errno == EROFS);
	} else {
		check("write /file", put("/file", "x") == 0 && unlink("/file") == 0);
	}
	check("read the mounted file", has("/etc/app.conf", "from the host"));
	check("write the termination message", put("/dev/termination-log", "the end") == 0);
	if (!failed) puts("ok");
	return failed;
}
