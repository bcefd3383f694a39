//go:build wasip1

// Command signals works until it is told to end, and then has the Pod's grace period to put its work away. Its Pod or its
// image must ask for signals: wazlet.dev/signals: fd.
package main

import (
	"errors"
	"fmt"
	"log"
	"os"
	"strconv"
	"syscall"
	"time"
)

func main() {
	signals, err := open()
	if err != nil {
		log.Fatal(err)
	}
	told := make(chan syscall.Signal)
	go func() {
		var number [1]byte
		for {
			if _, err := signals.Read(number[:]); err != nil {
				log.Fatal(err)
			}
			told <- syscall.Signal(number[0])
		}
	}()
	for n := 0; ; n++ {
		fmt.Println("work", n)
		select {
		case <-time.After(time.Second):
		case s := <-told:
			fmt.Println(s, "after", n)
			if s == syscall.SIGTERM {
				os.Exit(3)
			}
		}
	}
}

// open finds the descriptor of signals.
func open() (*os.File, error) {
	fd, err := strconv.Atoi(os.Getenv("WAZLET_SIGNAL_FD"))
	if err != nil {
		return nil, errors.New("no signals: the Pod needs the annotation wazlet.dev/signals: fd")
	}
	return os.NewFile(uintptr(fd), "signals"), nil
}
