//go:build wasip1

// Command init is both the init containers and the main container of its Pod: "write FILE TEXT" adds a line to a file,
// "read FILE" prints the file and stays.
package main

import (
	"fmt"
	"os"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "init:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 3 && args[0] == "write":
		return write(args[1], args[2])
	case len(args) == 2 && args[0] == "read":
		return read(args[1])
	default:
		return fmt.Errorf("must be called as 'write FILE TEXT' or 'read FILE' (got %q)", args)
	}
}

func write(file, text string) error {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(f, text); err != nil {
		return err
	}
	fmt.Println("wrote", text, "to", file)
	return f.Close()
}

func read(file string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	fmt.Printf("the init containers left:\n%s", data)
	for {
		time.Sleep(time.Hour)
	}
}
