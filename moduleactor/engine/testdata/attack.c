// Tries to leave its file system with every call that takes a path, on every path and flag that might, by the functions of WASI
// themselves: libraries tidy up paths. Its arguments are the inodes that it must not see. It prints what it sees of them, and how
// often it tried.
//
//	attack all INODE...   every call, alone
//	attack use INODE...   calls on the directories /vol/x and /vol/w, which guests that do the following keep exchanging for something else
//	attack link           /vol/x for a link that leads out
//	attack fifo           /vol/w for the FIFO /vol/fifo
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CALL(name) __attribute__((import_module("wasi_snapshot_preview1"), import_name(#name))) int
CALL(path_open) pathOpen(int fd, int lookup, const char *p, int n, int oflags, uint64_t base, uint64_t inheriting, int flags, int *out);
CALL(path_filestat_get) pathStat(int fd, int lookup, const char *p, int n, uint64_t *st);
CALL(path_filestat_set_times) pathTimes(int fd, int lookup, const char *p, int n, uint64_t atim, uint64_t mtim, int which);
CALL(path_create_directory) pathMkdir(int fd, const char *p, int n);
CALL(path_remove_directory) pathRmdir(int fd, const char *p, int n);
CALL(path_unlink_file) pathUnlink(int fd, const char *p, int n);
CALL(path_rename) pathRename(int fd, const char *p, int n, int to, const char *q, int m);
CALL(path_link) pathLink(int fd, int lookup, const char *p, int n, int to, const char *q, int m);
CALL(path_symlink) pathSymlink(const char *t, int k, int fd, const char *p, int n);
CALL(path_readlink) pathReadlink(int fd, const char *p, int n, char *buf, int size, int *used);
CALL(fd_readdir) readDir(int fd, uint8_t *buf, int size, uint64_t cookie, int *used);
CALL(fd_filestat_get) fdStat(int fd, uint64_t *st);
CALL(fd_close) fdClose(int fd);
CALL(fd_renumber) fdRenumber(int fd, int to);

enum { ROOT = 3, CREAT = 1, DIRECTORY = 2, EXCL = 4, TRUNC = 8, READ = 1 << 1, WRITE = 1 << 6 };
static const uint64_t everything = ~0ull, unwritten = ~0ull & ~(WRITE | 1 << 8);

static uint64_t forbidden[32];
static int many, tries, leaks;

static void inode(const char *call, const char *path, uint64_t ino) {
	for (int i = 0; i < many; i++)
		if (forbidden[i] == ino) {
			leaks++;
			printf("%s of %s sees inode %llu\n", call, path, (unsigned long long)ino);
		}
}

static void look(int fd, const char *path) {
	static uint8_t buf[16384];
	uint64_t st[8];
	int used = 0;
	if (fdStat(fd, st) == 0) inode("fd_filestat_get", path, st[1]);
	if (readDir(fd, buf, sizeof buf, 0, &used) != 0) return;
	for (int at = 0; at + 24 <= used;) {
		uint64_t ino;
		uint32_t length;
		memcpy(&ino, buf + at + 8, 8);
		memcpy(&length, buf + at + 16, 4);
		inode("fd_readdir", path, ino);
		at += 24 + length;
	}
}

static void openAll(int fd, const char *p, int n) {
	static const int oflags[] = {0, CREAT, DIRECTORY, TRUNC, CREAT | EXCL, CREAT | TRUNC, DIRECTORY | TRUNC, CREAT | DIRECTORY};
	static const uint64_t rights[] = {everything, unwritten, WRITE | 1 << 8};
	for (int lookup = 0; lookup < 2; lookup++)
		for (unsigned o = 0; o < sizeof oflags / sizeof *oflags; o++)
			for (unsigned r = 0; r < sizeof rights / sizeof *rights; r++) {
				int got = -1;
				tries++;
				if (pathOpen(fd, lookup, p, n, oflags[o], rights[r] | 1 << 21, everything, 0, &got) == 0) {
					look(got, p);
					fdClose(got);
				}
			}
}

// stats describes what a path leads to.
static void stats(int fd, const char *p, int n) {
	uint64_t st[8];
	for (int lookup = 0; lookup < 2; lookup++) {
		tries += 2;
		if (pathStat(fd, lookup, p, n, st) == 0) inode("path_filestat_get", p, st[1]);
		pathTimes(fd, lookup, p, n, 1, 2, 1 | 4);
	}
}

static int below(char *out, const char *p, int n, const char *name) {
	memcpy(out, p, n);
	strcpy(out + n, name);
	return n + strlen(name);
}

static void changes(int fd, const char *p, int n) {
	static char path[8192], buf[100];
	int used;
	tries += 16;
	pathReadlink(fd, p, n, buf, sizeof buf, &used);
	for (int lookup = 0; lookup < 2; lookup++) pathLink(fd, lookup, p, n, ROOT, "hard", 4);
	stats(ROOT, "hard", 4);
	pathUnlink(ROOT, "hard", 4);
	pathMkdir(fd, p, n);
	pathMkdir(fd, path, below(path, p, n, "/newdir"));
	pathSymlink("x", 1, fd, p, n);
	pathSymlink("x", 1, fd, path, below(path, p, n, "/newlink"));
	pathLink(ROOT, 0, "mine", 4, fd, p, n);
	pathLink(ROOT, 0, "mine", 4, fd, path, below(path, p, n, "/linked"));
	pathRename(ROOT, "mine", 4, fd, path, below(path, p, n, "/moved"));
	pathRename(ROOT, "minedir", 7, fd, path, below(path, p, n, "/moveddir"));
	pathRename(ROOT, "mine", 4, fd, p, n);
	pathRename(ROOT, "minedir", 7, fd, p, n);
	pathUnlink(fd, path, below(path, p, n, "/victim1"));
	pathRmdir(fd, path, below(path, p, n, "/empty"));
	if (pathRename(fd, p, n, ROOT, "got", 3) == 0) {
		stats(ROOT, "got", 3);
		openAll(ROOT, "got/", 4);
		pathUnlink(ROOT, "got", 3);
		pathRmdir(ROOT, "got", 3);
	}
	pathRmdir(fd, p, n);
	pathUnlink(fd, p, n);
}

static void ln(const char *target, const char *p) {
	pathUnlink(ROOT, p, strlen(p));
	pathSymlink(target, strlen(target), ROOT, p, strlen(p));
}

// prepare makes again what an attack has used up.
static void prepare(void) {
	int fd;
	pathMkdir(ROOT, "sub", 3), pathMkdir(ROOT, "minedir", 7);
	if (pathOpen(ROOT, 0, "mine", 4, CREAT, everything, 0, 0, &fd) == 0) fdClose(fd);
	ln("../secret.txt", "in"), ln("../secret2.txt", "abs2"), ln("../outside", "d"), ln("..", "up"), ln("../..", "sub/up2");
	ln("two", "one"), ln("three", "two"), ln("../secret.txt", "three"), ln(".", "self"), ln("sub", "subl");
	ln("../outside/", "slash"), ln("sub/../../outside", "dots"), ln("../planted", "dangling"), ln("../planteddir/", "danglingdir"), ln("loop", "loop");
	ln("./../outside/.", "dot"), ln("sub/..", "back"), ln("../outside/..", "around");
}

static void attack(int fd, const char *p, int n) {
	prepare();
	openAll(fd, p, n);
	prepare();
	stats(fd, p, n);
	prepare();
	changes(fd, p, n);
}

static const char *const paths[] = {
	"..", "../", "../.", "../..", "../secret.txt", "../outside", "../outside/", "../outside/victim1", "./../secret.txt", "sub/../../secret.txt",
	"sub/../..", "sub/../../", "sub/../../outside/", "nothing/../../secret.txt", "/", "//", "/..", "/../secret.txt", "//../secret.txt",
	"in", "in/", "in/.", "in/..", "./in", "sub/../in", "abs/", "abs", "abs2", "d", "d/", "d//", "d/.", "d/..", "d/../secret.txt", "d/../outside",
	"d//victim1", "d/./victim1", "d/victim1/", "d/empty", "d/empty/", "d/empty/..", "d/new", "d/new/", "up", "up/", "up/.", "up/..", "up/secret.txt",
	"up/outside/victim2", "up/root/../secret.txt", "sub/up2", "sub/up2/", "sub/up2/secret.txt", "sub/up2/outside/victim1/", "subl/up2/secret.txt",
	"one", "one/", "two", "self/up", "self/up/", "self/self/../up/secret.txt", "self/../secret.txt", "subl/../up/secret.txt", "slash", "slash/",
	"slash/victim1", "dots", "dots/", "dots/victim1", "dangling", "dangling/", "danglingdir", "danglingdir/", "loop", "loop/", "loop/x",
	"dot", "dot/", "dot/victim1", "back", "back/", "back/../secret.txt", "around", "around/", "around/secret.txt", ".", "./", "",
};

static void all(void) {
	static char big[65536];
	int sub;
	for (unsigned i = 0; i < sizeof paths / sizeof *paths; i++) attack(ROOT, paths[i], strlen(paths[i]));
	prepare();
	if (pathOpen(ROOT, 0, "sub", 3, DIRECTORY, everything, everything, 0, &sub) == 0) {
		static const char *const relative[] = {"up2", "up2/", "up2/secret.txt", "up2/outside/victim1", "../up", "../up/secret.txt", "../../secret.txt", "./../in", ".."};
		for (unsigned i = 0; i < sizeof relative / sizeof *relative; i++) {
			attack(sub, relative[i], strlen(relative[i]));
		}
	}
	attack(ROOT, "sub\0/../../secret.txt", 21);
	attack(ROOT, "in\0", 3);
	attack(ROOT, "\xff\xfe/../\xc3\x28", 8);
	attack(ROOT, "\xff\xfe", 2);
	memset(big, 'n', sizeof big);
	attack(ROOT, big, 256);
	for (unsigned i = 0; i + 1 < sizeof big; i += 2) memcpy(big + i, "./", 2);
	attack(ROOT, big, 4000);
	int used;
	tries++;
	if (pathReadlink(ROOT, big, sizeof big, big, sizeof big, &used) != 37) puts("a path of 64 KiB is not too long"), leaks++;
	// Directories in directories, each relative to the last.
	int fd = -1, next;
	prepare();
	if (pathOpen(ROOT, 0, "minedir", 7, DIRECTORY, everything, everything, 0, &fd) == 0)
		for (int i = 0; i < 500; i++) {
			if (pathMkdir(fd, "deep", 4) != 0 || pathOpen(fd, 0, "deep", 4, DIRECTORY, everything, everything, 0, &next) != 0) break;
			fdClose(fd);
			fd = next;
		}
	static const char *const deep[] = {"..", "../..", "../../../secret.txt"};
	for (unsigned i = 0; i < sizeof deep / sizeof *deep; i++) attack(fd, deep[i], strlen(deep[i]));
	// Another number makes no other directory of it.
	fdRenumber(fd, ROOT);
	openAll(ROOT, "..", 2);
	openAll(ROOT, "/", 1);
}

static void use(void) {
	static const char *const names[] = {"vol/x", "vol/x/", "vol/x/.", "vol/x/secret.txt", "vol/x/outside", "vol/x/outside/", "vol/x/outside/victim1", "vol/x/..",
		"vol/w", "vol/w/", "vol/w/x"};
	for (int i = 0; i < 100; i++)
		for (unsigned k = 0; k < sizeof names / sizeof *names; k++) {
			int n = strlen(names[k]);
			openAll(ROOT, names[k], n);
			stats(ROOT, names[k], n);
			tries += 3;
			pathMkdir(ROOT, "vol/x/planteddir", 16), pathRmdir(ROOT, "vol/x/planteddir", 16);
			pathRename(ROOT, "vol/x/secret.txt", 16, ROOT, "vol/stolen", 10), pathUnlink(ROOT, "vol/x/secret2.txt", 17);
			pathLink(ROOT, 0, "vol/x/secret.txt", 16, ROOT, "vol/hard", 8), pathSymlink("x", 1, ROOT, "vol/x/newlink", 13);
			pathUnlink(ROOT, "vol/x/newlink", 13);
		}
}

// swapLink and swapFIFO put something in the place of a directory for a moment, again and again until they are ended.
static void swapLink(void) {
	for (;;) {
		pathRename(ROOT, "vol/x", 5, ROOT, "vol/y", 5);
		pathSymlink("..", 2, ROOT, "vol/x", 5);
		pathUnlink(ROOT, "vol/x", 5);
		pathRename(ROOT, "vol/y", 5, ROOT, "vol/x", 5);
	}
}

static void swapFIFO(void) {
	for (;;) {
		pathRename(ROOT, "vol/w", 5, ROOT, "vol/z", 5);
		pathRename(ROOT, "vol/fifo", 8, ROOT, "vol/w", 5);
		pathRename(ROOT, "vol/w", 5, ROOT, "vol/fifo", 8);
		pathRename(ROOT, "vol/z", 5, ROOT, "vol/w", 5);
	}
}

int main(int argc, char **argv) {
	for (int i = 2; i < argc && many < 32; i++) forbidden[many++] = strtoull(argv[i], 0, 10);
	if (!strcmp(argv[1], "link")) swapLink();
	if (!strcmp(argv[1], "fifo")) swapFIFO();
	if (!strcmp(argv[1], "use")) use();
	if (!strcmp(argv[1], "all")) all();
	printf("tried %s, %d leaks\n", tries > 1000 ? "enough" : "too little", leaks);
	return 0;
}
