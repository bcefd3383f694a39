//go:build wasip1

// Command hello greets on both streams, shows what it was given, and ends.
package main

import (
	"fmt"
	"os"
	"strings"
)

func main() {
	fmt.Println("hello from stdout!")
	fmt.Fprintln(os.Stderr, "hello from stderr!")
	fmt.Println("args:", strings.Join(os.Args[1:], " "))
	fmt.Println("GREETING:", os.Getenv("GREETING"))
	fmt.Println("POD:", os.Getenv("POD"))
}
