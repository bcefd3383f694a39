// Sockets that the guest opens itself, by WasmEdge's extension: version 1 with -DV1, otherwise 2.
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define IMPORT(name) __attribute__((import_module("wasi_snapshot_preview1"), import_name(#name))) int name

struct buffer {
  void *data;
  uint32_t size;
};
struct sockaddr_data {
  uint32_t family, size;
  uint8_t *data;
};
struct info {
  uint16_t flags;
  uint8_t family, kind;
  uint32_t protocol, addrlen;
  struct sockaddr_data *addr;
  char *canonname;
  uint32_t canonnamelen;
  struct info *next;
};

IMPORT(sock_open)(int family, int kind, int *fd);
IMPORT(sock_bind)(int fd, struct buffer *addr, int port);
IMPORT(sock_listen)(int fd, int backlog);
IMPORT(sock_connect)(int fd, struct buffer *addr, int port);
IMPORT(sock_send_to)(int fd, struct buffer *iovs, int n, struct buffer *addr, int port, int flags, uint32_t *sent);
IMPORT(sock_setsockopt)(int fd, int level, int name, int *value, int size);
IMPORT(sock_getsockopt)(int fd, int level, int name, int *value, int size);
IMPORT(sock_getaddrinfo)(const char *node, int nodelen, const char *service, int servicelen, struct info *hints,
                         struct info **res, int max, uint32_t *n);
#ifdef V1
IMPORT(sock_accept)(int fd, int *conn);
IMPORT(sock_recv_from)(int fd, struct buffer *iovs, int n, struct buffer *addr, int flags, uint32_t *got, uint32_t *roflags);
IMPORT(sock_getlocaladdr)(int fd, struct buffer *addr, uint32_t *type, uint32_t *port);
IMPORT(sock_getpeeraddr)(int fd, struct buffer *addr, uint32_t *type, uint32_t *port);
#else
IMPORT(sock_accept)(int fd, int flags, int *conn);
IMPORT(sock_recv_from)(int fd, struct buffer *iovs, int n, struct buffer *addr, int flags, uint32_t *port, uint32_t *got, uint32_t *roflags);
IMPORT(sock_getlocaladdr)(int fd, struct buffer *addr, uint32_t *port);
IMPORT(sock_getpeeraddr)(int fd, struct buffer *addr, uint32_t *port);
#endif

static int family = 1;
static uint8_t raw[128];
static struct buffer address = {raw, sizeof raw};

static void must(const char *what, int err) {
  if (err == 0) return;
  printf("%s: errno %d\n", what, err);
  exit(1);
}

// parse puts a textual address into the buffer, as the version wants it.
static struct buffer *parse(const char *text) {
  memset(raw, 0, sizeof raw);
  uint8_t *at = raw;
#ifndef V1
  raw[0] = family;
  at += 2;
  address.size = 128;
#else
  address.size = family == 2 ? 16 : 4;
#endif
  if (inet_pton(family == 2 ? AF_INET6 : AF_INET, text, at) != 1) must("inet_pton", EINVAL);
  return &address;
}

// show returns the buffer's address as text.
static const char *show(int six) {
  static char text[64];
  uint8_t *at = raw;
#ifndef V1
  six = raw[0] == 2;
  at += 2;
#endif
  return inet_ntop(six ? AF_INET6 : AF_INET, at, text, sizeof text);
}

static void name(const char *what, int fd, int peer) {
  uint32_t port = 0, type = 0;
  memset(raw, 0, sizeof raw);
#ifdef V1
  address.size = 16;
  must(what, peer ? sock_getpeeraddr(fd, &address, &type, &port) : sock_getlocaladdr(fd, &address, &type, &port));
#else
  address.size = 128;
  must(what, peer ? sock_getpeeraddr(fd, &address, &port) : sock_getlocaladdr(fd, &address, &port));
#endif
  printf("%s %s %u\n", what, show(type == 6), port);
  fflush(stdout);
}

static int opened(int kind) {
  int fd = -1;
  must("open", sock_open(family, kind, &fd));
  return fd;
}

static void echo(int fd) {
  char buf[100];
  ssize_t n;
  while ((n = read(fd, buf, sizeof buf)) > 0)
    if (write(fd, buf, n) != n) must("write", errno);
  if (n < 0) must("read", errno);
}

static void server(void) {
  int fd = opened(2), conn = -1, on = 1;
  must("reuse", sock_setsockopt(fd, 0, 0, &on, sizeof on));
  must("bind", sock_bind(fd, parse(family == 2 ? "::" : "0.0.0.0"), 0));
  must("listen", sock_listen(fd, 5));
  name("listening", fd, 0);
#ifdef V1
  must("accept", sock_accept(fd, &conn));
#else
  must("accept", sock_accept(fd, 0, &conn));
#endif
  echo(conn);
}

static void client(const char *to, int port) {
  int fd = opened(2);
  must("connect", sock_connect(fd, parse(to), port));
  name("peer", fd, 1);
  if (write(fd, "hello", 5) != 5) must("write", errno);
  char buf[100];
  ssize_t n = read(fd, buf, sizeof buf);
  printf("got %.*s\n", (int)n, buf);
}

// later connects without waiting.
static void later(const char *to, int port) {
  int fd = opened(2), err = -1;
  if (fcntl(fd, F_SETFL, O_NONBLOCK) != 0) must("fcntl", errno);
  int res = sock_connect(fd, parse(to), port);
  if (res != 26 && res != 0) must("connect", res);
  struct pollfd p = {fd, POLLOUT, 0};
  printf("poll %d\n", poll(&p, 1, -1));
  must("SO_ERROR", sock_getsockopt(fd, 0, 2, &err, sizeof err));
  printf("error %d\n", err);
}

// udp answers one datagram, on the socket fd or one of its own.
static void udp(int fd) {
  if (fd < 0) {
    fd = opened(1);
    must("bind", sock_bind(fd, parse(family == 2 ? "::" : "0.0.0.0"), 0));
  }
  name("bound", fd, 0);
  char buf[100];
  struct buffer iov = {buf, sizeof buf};
  uint32_t n = 0, port = 0, roflags = 9;
  memset(raw, 0, sizeof raw);
#ifdef V1
  address.size = 16;
  must("recv_from", sock_recv_from(fd, &iov, 1, &address, 0, &n, &roflags));
  printf("from %s flags %u: %.*s\n", show(0), roflags, (int)n, buf);
  return;
#endif
#ifndef V1
  address.size = 128;
  must("recv_from", sock_recv_from(fd, &iov, 1, &address, 0, &port, &n, &roflags));
  printf("from %s flags %u: %.*s\n", show(0), roflags, (int)n, buf);
  iov.size = n;
  must("send_to", sock_send_to(fd, &iov, 1, &address, port, 0, &n));
#endif
}

#ifndef V1
// knock connects to each address and port that a datagram on the socket fd names, and answers with the outcome.
static void knock(int fd) {
  for (;;) {
    char buf[100] = "", to[64], answer[20];
    uint8_t from[sizeof raw];
    struct buffer iov = {buf, sizeof buf - 1}, sender = {from, sizeof from};
    uint32_t n, port, flags;
    int at = 0;
    must("recv_from", sock_recv_from(fd, &iov, 1, &sender, 0, &port, &n, &flags));
    if (sscanf(buf, "%63s %d", to, &at) != 2) must("sscanf", EINVAL);
    int conn = opened(2);
    iov = (struct buffer){answer, sprintf(answer, "errno %d", sock_connect(conn, parse(to), at))};
    close(conn);
    must("send_to", sock_send_to(fd, &iov, 1, &sender, port, 0, &n));
  }
}
#endif

static void datagram(const char *to, int port) {
  int fd = opened(1);
  struct buffer iov = {"ping", 4};
  uint32_t n = 0;
  must("send_to", sock_send_to(fd, &iov, 1, parse(to), port, 0, &n));
  printf("sent %u\n", n);
}

static void resolve(const char *node, const char *service) {
  enum { most = 4 };
  struct info hints = {0, family == 1 ? 0 : family, 2, 0, 0, 0, 0, 0, 0}, infos[most], *first = infos;
  struct sockaddr_data addrs[most];
  uint8_t data[most][26];
  memset(infos, 0, sizeof infos);
  for (int i = 0; i < most; i++) {
    addrs[i] = (struct sockaddr_data){0, 14, data[i]};
    infos[i].addr = &addrs[i];
    infos[i].next = i + 1 < most ? &infos[i + 1] : NULL;
  }
  uint32_t n = 0;
  must("getaddrinfo", sock_getaddrinfo(node, strlen(node) + 1, service, strlen(service) + 1, &hints, &first, most, &n));
  for (uint32_t i = 0; i < n; i++) {
    char text[64];
    int six = (addrs[i].family & 0xff) == 2;
    printf("%s %d\n", inet_ntop(six ? AF_INET6 : AF_INET, data[i] + 2, text, sizeof text), data[i][0] << 8 | data[i][1]);
  }
}

// take binds a datagram socket to a port that may be somebody's.
static void take(int port) {
  int fd = opened(1), on = 1;
  must("reuse", sock_setsockopt(fd, 0, 0, &on, sizeof on));
  must("bind", sock_bind(fd, parse("0.0.0.0"), port));
  printf("bound\n");
}

static void options(void) {
  int fd = opened(2), value = -1, on = 1, size = 4;
  printf("set %d\n", sock_setsockopt(fd, 0, 7, &on, sizeof on));
  printf("get %d", sock_getsockopt(fd, 0, 7, &value, sizeof value));
  printf(" %d\n", value);
  printf("by pointer %d", sock_getsockopt(fd, 0, 1, &value, (int)&size));
  printf(" %d\n", value);
  printf("device %d\n", sock_setsockopt(fd, 0, 14, &on, sizeof on));
  printf("level %d\n", sock_setsockopt(fd, 6, 1, &on, sizeof on));
  printf("type %d\n", sock_setsockopt(fd, 0, 1, &on, sizeof on));
  printf("stdout %d\n", sock_getsockopt(1, 0, 1, &value, sizeof value));
  printf("unix %d\n", sock_open(3, 2, &fd));
  printf("elsewhere %d\n", sock_bind(fd, parse("192.0.2.1"), 0));
  int other = opened(2);
  printf("bind elsewhere %d\n", sock_bind(other, parse("192.0.2.1"), 0));
}

int main(int argc, char **argv) {
  setvbuf(stdout, NULL, _IOLBF, 0);
  if (getenv("SIX")) family = 2;
  const char *how = argv[1];
  if (!strcmp(how, "server")) server();
  if (!strcmp(how, "client")) client(argv[2], atoi(argv[3]));
  if (!strcmp(how, "later")) later(argv[2], atoi(argv[3]));
  if (!strcmp(how, "udp")) udp(-1);
  if (!strcmp(how, "given")) udp(atoi(getenv("WAZLET_LISTEN_FDS_START")));
#ifndef V1
  if (!strcmp(how, "knock")) knock(atoi(getenv("WAZLET_LISTEN_FDS_START")));
#endif
  if (!strcmp(how, "datagram")) datagram(argv[2], atoi(argv[3]));
  if (!strcmp(how, "resolve")) resolve(argv[2], argv[3]);
  if (!strcmp(how, "named")) {
    resolve(argv[2], argv[4]);
    client(argv[3], atoi(argv[4]));
  }
  if (!strcmp(how, "take")) take(atoi(argv[2]));
  if (!strcmp(how, "options")) options();
  return 0;
}
