// Uses the directory /real, which somebody keeps exchanging for a link that leads out. Prints whether it
// read what is inside, and was refused, and anything else that it read. Ends when it has seen both often enough.
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void change(void) {
	close(open("/real/made", O_CREAT | O_WRONLY | O_TRUNC, 0600));
	close(open("/real/file", O_WRONLY | O_TRUNC | O_NOFOLLOW | O_EXCL, 0600));
	rename("/real/made", "/real/moved");
	rename("/real/moved", "/mine");
	link("/mine", "/real/hard");
	symlink("x", "/real/soft");
	mkdir("/real/dir", 0700);
	rmdir("/real/empty");
	unlink("/real/victim");
	utimensat(AT_FDCWD, "/real/file", NULL, 0);
	unlink("/real/hard"), unlink("/real/soft"), unlink("/real/moved"), rmdir("/real/dir"), unlink("/mine");
}

int main(void) {
	int inside = 0, refused = 0;
	char buf[100];
	struct stat st;
	for (int i = 0; i < 200000 && (inside < 50 || refused < 50); i++) {
		int fd = open("/real/secret", O_RDONLY);
		int n = fd < 0 ? -1 : read(fd, buf, sizeof buf);
		if (fd >= 0) close(fd);
		if (n == 6 && !memcmp(buf, "inside", 6)) inside++;
		else if (n < 0) refused++;
		else printf("read %.*s\n", n, buf);
		if (stat("/real/secret", &st) == 0 && st.st_size != 6) printf("size %lld\n", (long long)st.st_size);
		DIR *d = opendir("/real");
		for (struct dirent *e; d && (e = readdir(d));) if (!strcmp(e->d_name, "outsider")) puts("listed outsider");
		if (d) closedir(d);
		change();
	}
	printf("inside %d refused %d\n", inside > 0, refused > 0);
	return 0;
}
