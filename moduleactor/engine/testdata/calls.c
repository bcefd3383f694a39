// Makes one call of the host as often as it is told.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <fcntl.h>
#include <wasi/api.h>

int main(int argc, char **argv) {
	const char *how = argv[1];
	long n = atol(argv[2]);
	char c = 'x';
	__wasi_ciovec_t out = {(uint8_t *)&c, 1};
	__wasi_iovec_t in = {(uint8_t *)&c, 1};
	__wasi_size_t size;
	__wasi_timestamp_t t;
	__wasi_filesize_t at;
	__wasi_errno_t err = 0;
	int fd = 0;
	if (*how == 's' || *how == 'p') {
		fd = open("/file", O_CREAT | O_RDWR, 0600);
		if (fd < 0) return 2;
	}
	if (!strcmp(how, "clock")) while (n-- > 0) err |= __wasi_clock_time_get(__WASI_CLOCKID_MONOTONIC, 1, &t);
	if (!strcmp(how, "write")) while (n-- > 0) err |= __wasi_fd_write(1, &out, 1, &size);
	if (!strcmp(how, "seek")) while (n-- > 0) err |= __wasi_fd_seek(fd, 0, __WASI_WHENCE_SET, &at);
	if (!strcmp(how, "pread")) while (n-- > 0) err |= __wasi_fd_pread(fd, &in, 1, 0, &size);
	return err;
}
