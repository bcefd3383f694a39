//go:build wasip1

// Command job counts the primes below a limit, says so in its termination message, and ends. It fails when the limit makes
// no sense.
package main

import (
	"fmt"
	"os"
	"strconv"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "job:", err)
		os.Exit(1)
	}
}

func run() error {
	limit, err := strconv.Atoi(os.Getenv("LIMIT"))
	if err != nil || limit < 2 {
		return fmt.Errorf("LIMIT must be a number of at least 2 (got %q)", os.Getenv("LIMIT"))
	}
	result := fmt.Sprintf("%d primes below %d", primes(limit), limit)
	fmt.Println(result)
	return os.WriteFile("/dev/termination-log", []byte(result), 0o644)
}

// primes is the sieve of Eratosthenes.
func primes(limit int) int {
	composite := make([]bool, limit)
	count := 0
	for n := 2; n < limit; n++ {
		if composite[n] {
			continue
		}
		count++
		for m := n * n; m < limit; m += n {
			composite[m] = true
		}
	}
	return count
}
