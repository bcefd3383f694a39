// The small guest of the benchmarks: one page of memory, one line of output, then it sleeps for ever.
#include <wasi/api.h>

int main(void) {
  __wasi_ciovec_t line = {(const uint8_t *)"ready\n", 6};
  __wasi_size_t n;
  if (__wasi_fd_write(1, &line, 1, &n) != 0) return 1;
  for (;;) {
    __wasi_subscription_t hour = {.u = {.tag = __WASI_EVENTTYPE_CLOCK,
                                        .u.clock = {.id = __WASI_CLOCKID_MONOTONIC, .timeout = 3600ull * 1000000000ull}}};
    __wasi_event_t event;
    if (__wasi_poll_oneoff(&hour, &event, 1, &n) != 0) return 2;
  }
}
