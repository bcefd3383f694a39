//go:build wasip1

// Command ticker prints a line each second, for ever.
package main

import (
	"fmt"
	"time"
)

func main() {
	for n := 1; ; n++ {
		fmt.Println("tick", n)
		time.Sleep(time.Second)
	}
}
