//go:build wasip1

// Command gohello is the Go guest of the benchmarks: one line of output, then it sleeps for ever.
package main

import (
	"fmt"
	"time"
)

func main() {
	fmt.Println("ready")
	for {
		time.Sleep(time.Hour)
	}
}
