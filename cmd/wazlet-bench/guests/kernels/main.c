// Kernels that compute: kernels NAME runs one and prints a number that depends on all of it.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint32_t seed = 1;

static uint32_t next(void) {
	seed ^= seed << 13;
	seed ^= seed >> 17;
	return seed ^= seed << 5;
}

static uint32_t rotate(uint32_t x, int n) { return x >> n | x << (32 - n); }

// The round constants of SHA-256: the first bits of the cube roots of the primes, found by integers.
static uint32_t constants[64], state[8];

static uint64_t root(uint64_t n, int power) { // floor(n^(1/power) * 2^32) mod 2^32, for small n
	unsigned __int128 low = 0, high = (unsigned __int128)20 << 32;
	while (low + 1 < high) {
		unsigned __int128 mid = (low + high) / 2;
		unsigned __int128 value = power == 2 ? mid * mid >> 32 : (mid * mid >> 32) * mid >> 32;
		if (value <= (unsigned __int128)n << 32) low = mid;
		else high = mid;
	}
	return (uint64_t)low;
}

static void prepare(void) {
	int found = 0;
	for (uint32_t n = 2; found < 64; n++) {
		int prime = 1;
		for (uint32_t d = 2; d * d <= n; d++)
			if (n % d == 0) prime = 0;
		if (!prime) continue;
		if (found < 8) state[found] = (uint32_t)root(n, 2);
		constants[found++] = (uint32_t)root(n, 3);
	}
}

static void block(const uint32_t *in) {
	uint32_t w[64], s[8];
	memcpy(w, in, 64);
	for (int i = 16; i < 64; i++) {
		uint32_t a = w[i - 15], b = w[i - 2];
		w[i] = w[i - 16] + w[i - 7] + (rotate(a, 7) ^ rotate(a, 18) ^ a >> 3) + (rotate(b, 17) ^ rotate(b, 19) ^ b >> 10);
	}
	memcpy(s, state, sizeof s);
	for (int i = 0; i < 64; i++) {
		uint32_t e = s[4], a = s[0];
		uint32_t t1 = s[7] + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + ((e & s[5]) ^ (~e & s[6])) + constants[i] + w[i];
		uint32_t t2 = (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + ((a & s[1]) ^ (a & s[2]) ^ (s[1] & s[2]));
		memmove(s + 1, s, 28);
		s[4] += t1;
		s[0] = t1 + t2;
	}
	for (int i = 0; i < 8; i++) state[i] += s[i];
}

static uint32_t sha256(void) {
	uint32_t in[16];
	prepare();
	for (int i = 0; i < 200000; i++) {
		for (int j = 0; j < 16; j++) in[j] = next();
		block(in);
	}
	return state[0];
}

static int compare(const void *a, const void *b) {
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return x < y ? -1 : x > y;
}

static uint32_t sort(void) {
	enum { n = 500000 };
	uint32_t *v = malloc(n * sizeof *v), sum = 0;
	for (int i = 0; i < n; i++) v[i] = next();
	qsort(v, n, sizeof *v, compare);
	for (int i = 0; i < n; i += 1000) sum = sum * 31 + v[i];
	return sum;
}

static uint32_t sieve(void) {
	enum { n = 10000000 };
	char *composite = calloc(n, 1);
	uint32_t count = 0;
	for (uint32_t i = 2; i < n; i++) {
		if (composite[i]) continue;
		count++;
		for (uint32_t j = 2 * i; j < n; j += i) composite[j] = 1;
	}
	return count;
}

static uint32_t matmul(void) {
	enum { n = 256 };
	static double a[n][n], b[n][n], c[n][n];
	for (int i = 0; i < n; i++)
		for (int j = 0; j < n; j++) a[i][j] = next() % 100, b[i][j] = next() % 100;
	for (int round = 0; round < 4; round++)
		for (int i = 0; i < n; i++)
			for (int j = 0; j < n; j++) {
				double sum = 0;
				for (int k = 0; k < n; k++) sum += a[i][k] * b[k][j];
				c[i][j] += sum;
			}
	return (uint32_t)c[17][42];
}

static uint32_t fib(uint32_t n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }

static uint32_t mandelbrot(void) {
	uint32_t inside = 0;
	for (int y = 0; y < 400; y++)
		for (int x = 0; x < 400; x++) {
			double cr = x / 200.0 - 1.5, ci = y / 200.0 - 1.0, r = 0, i = 0;
			int n = 0;
			for (; n < 500 && r * r + i * i < 4; n++) {
				double t = r * r - i * i + cr;
				i = 2 * r * i + ci;
				r = t;
			}
			inside += n;
		}
	return inside;
}

// A machine of few instructions, as interpreters have it: one large loop.
static uint32_t interpret(void) {
	static const uint8_t program[] = {0, 1, 2, 3, 1, 4, 2, 5, 0, 6, 3, 7};
	uint32_t a = 1, b = 2, steps = 0;
	for (unsigned pc = 0; steps < 30000000; steps++) {
		switch (program[pc]) {
		case 0: a += b; break;
		case 1: b ^= a; break;
		case 2: a = rotate(a, 3); break;
		case 3: b += steps; break;
		case 4: a -= 7; break;
		case 5: b = b * 5 + 1; break;
		case 6: a ^= b >> 3; break;
		case 7: pc = (unsigned)-1; break;
		}
		pc++;
	}
	return a ^ b;
}

int main(int argc, char **argv) {
	const char *name = argc > 1 ? argv[1] : "";
	uint32_t r;
	if (!strcmp(name, "sha256")) r = sha256();
	else if (!strcmp(name, "sort")) r = sort();
	else if (!strcmp(name, "sieve")) r = sieve();
	else if (!strcmp(name, "matmul")) r = matmul();
	else if (!strcmp(name, "fib")) r = fib(35);
	else if (!strcmp(name, "mandelbrot")) r = mandelbrot();
	else if (!strcmp(name, "interpret")) r = interpret();
	else return 2;
	printf("%s %u\n", name, r);
	return 0;
}
