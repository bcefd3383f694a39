//go:build wasip1

// Command guest is what the end-to-end tests run: its first argument says how to behave.
package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
)

func main() {
	switch arg(1) {
	case "tick": // prints a line a second, for ever
		for n := 0; ; n++ {
			fmt.Println("tick", n)
			time.Sleep(time.Second)
		}
	case "idle": // says hello, then sleeps for ever
		fmt.Println("idle", strings.Join(os.Args[2:], " "))
		for {
			time.Sleep(time.Hour)
		}
	case "exit": // exits with the code in its second argument
		fmt.Println("exiting with", arg(2))
		code, err := strconv.Atoi(arg(2))
		if err != nil {
			panic(err)
		}
		os.Exit(code)
	case "spin": // never calls the host again
		fmt.Println("spinning")
		for n := uint64(1); n != 0; n += 2 { //nolint:revive // the point of it
		}
	case "recurse":
		fmt.Println("recursing")
		fmt.Println(recurse(1))
	case "allocate":
		fmt.Println("allocating")
		var all [][]byte
		for {
			b := make([]byte, 1<<20)
			for i := 0; i < len(b); i += 4096 {
				b[i] = 1
			}
			all = append(all, b)
		}
	case "print":
		line := strings.Repeat("x", 1000)
		for {
			fmt.Println(line)
		}
	case "arg1": // Krustlet's demonstration, whose manifest has the args arg1 and arg2
		fmt.Println("hello from stdout!")
		fmt.Fprintln(os.Stderr, "hello from stderr!")
		for _, name := range []string{"FOO", "POD_NAME", "CONFIG_MAP_VAL", "KUBERNETES_SERVICE_HOST"} {
			fmt.Println(name + "=" + os.Getenv(name))
		}
		fmt.Printf("Args are: %q\n", os.Args[1:])
		token, err := os.ReadFile("/var/run/secrets/kubernetes.io/serviceaccount/token")
		fmt.Println("token:", len(token), err)
		for {
			b, err := os.ReadFile("/mnt/storage/bacon_ipsum.txt")
			fmt.Println(string(b), err)
			time.Sleep(time.Second)
		}
	case "cgi": // answers an HTTP request
		cgi()
	case "cat": // prints a file
		b, err := os.ReadFile(arg(2))
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Stdout.Write(b)
	case "copy": // prints its stdin
		if _, err := io.Copy(os.Stdout, os.Stdin); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	case "both": // prints to both streams and exits with a code
		fmt.Println("to stdout")
		fmt.Fprintln(os.Stderr, "to stderr")
		code, _ := strconv.Atoi(arg(2))
		os.Exit(code)
	case "lines": // answers each line of its stdin
		fmt.Println("ready")
		in := bufio.NewScanner(os.Stdin)
		for in.Scan() {
			fmt.Printf("got %s\n", in.Text())
		}
		fmt.Println("end of input")
	default:
		fmt.Fprintln(os.Stderr, "guest: no such behaviour:", arg(1))
		os.Exit(2)
	}
}

func arg(i int) string {
	if i < len(os.Args) {
		return os.Args[i]
	}
	return ""
}

// recurse never returns and needs its frame afterwards, so that no compiler can turn it into a loop.
func recurse(n int) int {
	return recurse(n+1) + recurse(n+2)
}
