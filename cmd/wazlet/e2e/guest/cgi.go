//go:build wasip1

package main

import (
	"fmt"
	"io"
	"os"
)

// cgi answers one HTTP request; its path says how.
func cgi() {
	path := os.Getenv("PATH_INFO")
	switch path {
	case "/fail":
		os.Exit(3)
	case "/trap":
		panic("asked for it")
	case "/spin":
		for n := uint64(1); n != 0; n += 2 { //nolint:revive // the point of it
		}
	}
	if path == "/echo" { // which answers when it has read all, so that a client is told to go on before it has an answer
		body, err := io.ReadAll(os.Stdin)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Printf("Content-Type: text/plain\n\n%s", body)
		return
	}
	fmt.Print("Content-Type: text/plain\n\n")
	fmt.Printf("%s %s %s", os.Getenv("REQUEST_METHOD"), path, os.Getenv("QUERY_STRING"))
}
