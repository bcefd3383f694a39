// Prints the files of /etc, as etc/main.go does, and sleeps for ever if its argument is idle.
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv) {
	struct dirent **list;
	int n = scandir("/etc", &list, NULL, alphasort);
	if (n < 0) perror("scandir");
	for (int i = 0; i < n; i++) {
		char path[300], buf[1000];
		if (list[i]->d_name[0] == '.') continue;
		snprintf(path, sizeof path, "/etc/%s", list[i]->d_name);
		printf("%s regular=%s\n", list[i]->d_name, list[i]->d_type == DT_REG ? "true" : "false");
		FILE *f = fopen(path, "r");
		if (!f) { perror(path); continue; }
		while (fgets(buf, sizeof buf, f)) fputs(buf, stdout);
		fclose(f);
	}
	if (open("/etc/hosts", O_WRONLY | O_APPEND) < 0) printf("hosts cannot be written\n");
	fflush(stdout);
	while (argc > 1 && !strcmp(argv[1], "idle")) sleep(1000);
	return 0;
}
