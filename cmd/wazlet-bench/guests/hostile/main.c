// The hostile guests of the benchmarks: the first argument says what it does without end.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static volatile unsigned long n;

static int recurse(int i) { return recurse(i + 1) + recurse(i + 2); }

int main(int argc, char **argv) {
  const char *what = argc > 1 ? argv[1] : "";
  if (!strcmp(what, "spin"))
    for (;;) n++;
  if (!strcmp(what, "print"))
    for (;;) puts("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx");
  if (!strcmp(what, "allocate"))
    for (;;) {
      char *p = malloc(1 << 16);
      if (p) memset(p, 1, 1 << 16);
    }
  if (!strcmp(what, "recurse")) return recurse(1);
  return 2;
}
