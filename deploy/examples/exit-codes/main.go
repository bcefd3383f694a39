//go:build wasip1

// Command exit-codes ends as its argument says: a number is its exit code, "trap" reads where there is no memory, as a bug
// in C does.
package main

import (
	"fmt"
	"os"
	"strconv"
	"unsafe"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintf(os.Stderr, "exit-codes: must be called with a number or 'trap' (got %q)\n", os.Args[1:])
		os.Exit(2)
	}
	if os.Args[1] == "trap" {
		fmt.Println("reading beyond the end of memory")
		fmt.Println(beyond(os.Args))
	}
	code, err := strconv.ParseUint(os.Args[1], 10, 8)
	if err != nil {
		fmt.Fprintln(os.Stderr, "exit-codes:", err)
		os.Exit(2)
	}
	fmt.Println("exiting with", code)
	os.Exit(int(code))
}

// beyond is 2 GiB from anything that this module has.
func beyond(args []string) byte {
	return *(*byte)(unsafe.Add(unsafe.Pointer(&args[0]), 1<<31))
}
