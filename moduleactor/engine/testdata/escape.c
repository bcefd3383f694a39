// Tries to leave its file system. Prints a line for each attack: its name and "done", with what was read, or the error.
//
// Outside of its root are ../secret.txt, ../secret2.txt and the directory ../outside with the files victim1, victim2 and
// the empty directory empty; inside are the links in -> ../secret.txt, abs -> the absolute path of secret.txt,
// abs2 -> ../secret2.txt and d -> ../outside.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void report(const char *name, int result, const char *text) {
	printf("%s: %s%s\n", name, result < 0 ? strerror(errno) : "done ", result < 0 ? "" : text);
}

static void attack(const char *name, int result) { report(name, result, ""); }

static void readFile(const char *name, const char *path) {
	char buf[100] = {0};
	int fd = open(path, O_RDONLY);
	report(name, fd < 0 ? fd : (int)read(fd, buf, sizeof buf - 1), buf);
	if (fd >= 0) close(fd);
}

static int openAndClose(const char *path, int flags) {
	int fd = open(path, flags, 0600);
	return fd < 0 ? fd : close(fd);
}

static int create(const char *path) { return openAndClose(path, O_CREAT | O_WRONLY); }

static int list(const char *path) {
	DIR *dir = opendir(path);
	return dir ? closedir(dir) : -1;
}

int main(void) {
	struct stat st;
	struct timespec times[2] = {{1, 0}, {2, 0}};
	readFile("read through a relative link", "/in");
	readFile("read through an absolute link", "/abs");
	attack("stat through a link", stat("/in", &st));
	attack("truncate through a link", openAndClose("/abs2", O_RDWR | O_TRUNC));
	attack("set times through a link", utimensat(AT_FDCWD, "/in", times, 0));
	readFile("read through dot dot", "/d/../../secret.txt");
	readFile("read through the parent", "/../secret.txt");
	attack("make a link to a file", symlink("../secret.txt", "/l"));
	readFile("read through the link made", "/l");
	attack("make a link to a directory", symlink("../outside", "/made"));
	readFile("read through the directory link made", "/made/victim1");
	attack("list through a directory link", list("/d"));
	attack("create through a directory link", create("/d/planted"));
	attack("create through the directory link made", create("/made/planted2"));
	attack("make a directory outside", mkdir("/d/newdir", 0700));
	attack("make a link outside", symlink("x", "/d/newlink"));
	attack("rename in", rename("/d/victim1", "/stolen"));
	create("/mine");
	attack("rename out", rename("/mine", "/d/mine"));
	attack("hard link in", link("/d/victim2", "/hard"));
	link("/in", "/hard2");
	readFile("read through a hard link to a link", "/hard2");
	attack("remove a file outside", unlink("/d/victim2"));
	attack("remove a directory outside", rmdir("/d/empty"));
	symlink("../planted3", "/dangling");
	attack("create through a dangling link", create("/dangling"));
	attack("make an absolute link", symlink("/etc/passwd", "/passwd"));
	return 0;
}
