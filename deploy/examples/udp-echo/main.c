// Answers each datagram with itself, on the UDP port that the Pod declares. The socket is handed in; sock_recv_from and
// sock_send_to are of WasmEdge's socket extension, which tells from where a datagram comes.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

struct buffer {
  void *data;
  uint32_t size;
};

__attribute__((import_module("wasi_snapshot_preview1"), import_name("sock_recv_from"))) int sock_recv_from(
    int fd, struct buffer *buffers, int n, struct buffer *address, int flags, uint32_t *port, uint32_t *size, uint32_t *outflags);
__attribute__((import_module("wasi_snapshot_preview1"), import_name("sock_send_to"))) int sock_send_to(
    int fd, struct buffer *buffers, int n, struct buffer *address, int port, int flags, uint32_t *size);

int main(void) {
  const char *first = getenv("WAZLET_LISTEN_FDS_START");
  if (!first) {
    fprintf(stderr, "udp-echo: declare a UDP port\n");
    return 1;
  }
  int fd = atoi(first);
  static char data[65536], from[128];
  printf("waiting on descriptor %d\n", fd);
  fflush(stdout);
  for (;;) {
    struct buffer buffer = {data, sizeof data}, address = {from, sizeof from};
    uint32_t port, size, flags;
    int err = sock_recv_from(fd, &buffer, 1, &address, 0, &port, &size, &flags);
    if (err) {
      fprintf(stderr, "udp-echo: receive: errno %d\n", err);
      return 1;
    }
    buffer.size = size;
    if ((err = sock_send_to(fd, &buffer, 1, &address, port, 0, &size))) fprintf(stderr, "udp-echo: send: errno %d\n", err);
  }
}
