// Command server serves HTTP on the listener that it finds open, and ends when it is told to, by a request or by a signal.
package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
)

func main() {
	if err := run(); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

func run() error {
	fd, err := strconv.Atoi(os.Getenv("WAZLET_LISTEN_FDS_START"))
	if err != nil {
		return err
	}
	l, err := net.FileListener(os.NewFile(uintptr(fd), "http"))
	if err != nil {
		return err
	}
	done := make(chan error, 2)
	http.HandleFunc("/hello", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "hello %s", body)
	})
	go func() { done <- http.Serve(l, nil) }()
	go signals(done)
	fmt.Println("serving")
	return <-done
}

// signals reads the descriptor of signals, beside the other goroutines.
func signals(done chan<- error) {
	fd, err := strconv.Atoi(os.Getenv("WAZLET_SIGNAL_FD"))
	if err != nil {
		done <- err
		return
	}
	var b [1]byte
	_, err = os.NewFile(uintptr(fd), "signals").Read(b[:])
	fmt.Println("signal", b[0])
	done <- err
}
