//go:build wasip1

// Command http serves HTTP on the port that its container declares: the node has bound it, and hands it over as systemd
// does with socket activation.
package main

import (
	"context"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
)

func main() {
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "hello from %s, which you reached at %s\n", os.Getenv("HOSTNAME"), r.Host)
	})
	found, err := listeners("http")
	if err != nil {
		log.Fatal(err)
	}
	server, closed := &http.Server{}, make(chan error) //nolint:gosec // an example without time-outs
	for _, l := range found {
		go func() { closed <- server.Serve(l) }()
	}
	fmt.Println("serving")
	fmt.Println("stopping:", <-closed)                            // the node closes the listeners when the Pod is to end
	if err := server.Shutdown(context.Background()); err != nil { // which is bounded by the Pod's grace period
		log.Fatal(err)
	}
}

// listeners finds the sockets of a port by its name: one on the Pod's address and, with a hostPort, one on the node's.
// Descriptor 3 is the root directory, so they begin where WAZLET_LISTEN_FDS_START says.
func listeners(name string) ([]net.Listener, error) {
	first, err := strconv.Atoi(os.Getenv("WAZLET_LISTEN_FDS_START"))
	if err != nil {
		return nil, fmt.Errorf("no port was handed over; the container must declare one that is called %s", name)
	}
	var found []net.Listener
	for i, n := range strings.Split(os.Getenv("LISTEN_FDNAMES"), ":") {
		if n != name {
			continue
		}
		l, err := net.FileListener(os.NewFile(uintptr(first+i), name))
		if err != nil {
			return nil, err
		}
		found = append(found, l)
	}
	if found == nil {
		return nil, fmt.Errorf("no port is called %s; there are %s", name, os.Getenv("LISTEN_FDNAMES"))
	}
	return found, nil
}
