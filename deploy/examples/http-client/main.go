//go:build wasip1

// Command http-client gets each URL of its arguments and prints the answers; -timeout 0 waits for ever. It connects by WasmEdge's socket extension of
// WASI, as Go itself has no sockets for wasip1: see dial.go. Where it may go is said by the Pod's annotation
// wazlet.dev/allowed-egress.
package main

import (
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

func main() {
	timeout := flag.Duration("timeout", 30*time.Second, "for each URL")
	flag.Parse()
	client := http.Client{Transport: &http.Transport{DialContext: dial}, Timeout: *timeout}
	failed := false
	for _, url := range flag.Args() {
		if err := get(&client, url); err != nil {
			fmt.Fprintln(os.Stderr, "http-client:", err)
			failed = true
		}
	}
	if failed {
		os.Exit(1)
	}
}

func get(client *http.Client, url string) error {
	answer, err := client.Get(url)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	fmt.Println(answer.Status)
	_, err = io.Copy(os.Stdout, answer.Body)
	return err
}
