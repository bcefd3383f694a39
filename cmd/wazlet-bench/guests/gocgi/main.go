//go:build wasip1

// Command gocgi is guests/cgi in Go.
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Printf("Content-Type: text/plain\n\nhello from %s?%s\n", os.Getenv("PATH_INFO"), os.Getenv("QUERY_STRING"))
}
