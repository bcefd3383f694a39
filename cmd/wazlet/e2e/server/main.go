//go:build wasip1

// Command server echoes the bodies of HTTP requests. When its listener is closed it finishes those that are open.
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
)

func main() {
	fd, err := strconv.Atoi(os.Getenv("WAZLET_LISTEN_FDS_START"))
	if err != nil {
		log.Fatal(err)
	}
	l, err := net.FileListener(os.NewFile(uintptr(fd), "http"))
	if err != nil {
		log.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Println("request")
		_, _ = io.Copy(w, r.Body)
	})}
	fmt.Println("stopping:", server.Serve(l))
	if err := server.Shutdown(context.Background()); err != nil {
		log.Fatal(err)
	}
	fmt.Println("done")
}
