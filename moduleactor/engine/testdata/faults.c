// Fails in the way that argv[1] names.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *volatile kept; // keeps the compiler from seeing that memory is not used

__attribute__((noinline)) void inner(void) { __builtin_trap(); }
__attribute__((noinline)) void outer(void) { inner(); }

// Allocates in steps until it is refused; returns how much it got.
__attribute__((noinline)) size_t hoard(size_t step) {
	size_t total = 0;
	for (;;) {
		char *p = malloc(step);
		if (!p) return total;
		memset(p, 1, step);
		kept = p;
		total += step;
	}
}

int main(int argc, char **argv) {
	const char *how = argc > 1 ? argv[1] : "";
	volatile int zero = 0;
	if (!strcmp(how, "exit")) exit(atoi(argv[2]));
	if (!strcmp(how, "trap")) outer();
	if (!strcmp(how, "divide")) return argc / zero;
	if (!strcmp(how, "bounds")) return *(volatile int *)(uintptr_t)0xfffffff0u;
	if (!strcmp(how, "abort")) abort();
	if (!strcmp(how, "hoard-exit")) { hoard(1 << 20); return 42; }
	if (!strcmp(how, "hoard-trap")) { hoard(1 << 20); __builtin_trap(); }
	if (!strcmp(how, "hoard-ok")) { printf("%zu MiB\n", hoard(1 << 20) >> 20); return 0; }
	if (!strcmp(how, "spin")) { puts("up"); fflush(stdout); for (volatile unsigned i = 0;; i++) {} }
	if (!strcmp(how, "print")) for (;;) puts("0123456789012345678901234567890123456789012345678901234567890123456789");
	return 3;
}
