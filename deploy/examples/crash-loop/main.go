//go:build wasip1

// Command crash-loop complains and fails.
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Println("starting")
	fmt.Fprintln(os.Stderr, "something is missing; giving up")
	os.Exit(1)
}
