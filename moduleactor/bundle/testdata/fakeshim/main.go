// Command fakeshim stands in for wazlet-shim: it keeps the contract of a bundle and does what the spec's args, or the
// text of the "module", tell it.
package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/wazlet/wazlet/moduleactor/bundle"
)

func main() {
	if len(os.Args) == 4 && os.Args[1] == "run" && os.Args[2] == "--bundle" {
		os.Exit(run(os.Args[3]))
	}
	if len(os.Args) > 7 && os.Args[1] == "exec" && os.Args[2] == "--bundle" && os.Args[4] == "--spec" && os.Args[6] == "--" {
		os.Exit(command(os.Args[7:]))
	}
	if len(os.Args) >= 6 && os.Args[1] == "compile" && os.Args[2] == "--module" && os.Args[4] == "--cache" {
		for _, a := range os.Args[6:] {
			trace(os.Args[5], a)
		}
		os.Exit(compile(os.Args[3], os.Args[5]))
	}
	die("bad command line %q", os.Args)
}

func die(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "fakeshim: "+format+"\n", args...)
	os.Exit(70)
}

// hang waits in the kernel: the Go runtime would take an empty select for a deadlock and end the process.
func hang() {
	for {
		_ = syscall.Pause() // until a signal
	}
}

func run(dir string) int {
	a, err := bundle.Attach(dir)
	if err != nil {
		die("%v", err)
	}
	if err := a.JoinCgroups(); err != nil {
		die("%v", err)
	}
	args := a.Spec().Args
	switch args[0] {
	case "silent":
		hang()
	case "crash":
		die("no room")
	}
	at := time.Now()
	if args[0] == "ignore-term" {
		signal.Ignore(syscall.SIGTERM)
	}
	if err := a.Started(at); err != nil {
		die("%v", err)
	}
	code := int32(0)
	switch args[0] {
	case "run", "ignore-term":
		hang()
	case "crash-late":
		die("fell over")
	case "garbage":
		_ = os.WriteFile(filepath.Join(dir, bundle.ExitFile), []byte("{"), 0o600)
		return 0
	case "alloc":
		for {
			b := make([]byte, 1<<20)
			for i := range b {
				b[i] = 1
			}
			hold = append(hold, b)
		}
	case "exit":
		n, err := strconv.Atoi(args[1])
		if err != nil {
			die("%v", err)
		}
		code = int32(n)
	case "refuse": // and end right after
		a.Refused("first\nline " + strings.Repeat("x", 1000))
		a.Refused("second")
	case "exit-when":
		await(args[1])
		code = 7
	default:
		die("bad args %q", args)
	}
	reason := bundle.Completed
	if code != 0 {
		reason = bundle.Error
	}
	if err := a.End(bundle.Exit{Code: code, Reason: reason, StartedAt: at, FinishedAt: time.Now()}); err != nil {
		die("%v", err)
	}
	return 0
}

var hold [][]byte

func await(file string) {
	for {
		if _, err := os.Stat(file); err == nil {
			return
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func trace(cache, what string) {
	f, err := os.OpenFile(filepath.Join(cache, "trace"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		die("%v", err)
	}
	if _, err := f.WriteString(what + "\n"); err != nil {
		die("%v", err)
	}
	_ = f.Close()
}

func compile(module, cache string) int {
	text, err := os.ReadFile(module)
	if err != nil {
		die("%v", err)
	}
	trace(cache, "begin")
	defer trace(cache, "end")
	switch string(text) {
	case "invalid":
		fmt.Fprintln(os.Stderr, "invalid magic number")
		return bundle.ExitInvalidModule
	case "fail":
		fmt.Fprintln(os.Stderr, strings.Repeat("no space left ", 1000))
		return 1
	case "hang":
		nice, _ := syscall.Getpriority(syscall.PRIO_PROCESS, 0)
		trace(cache, fmt.Sprintf("pid %d nice %d", os.Getpid(), 20-nice))
		hang()
	case "wait":
		await(module + ".go")
	}
	return fill(module, cache)
}

// fill leaves something in the cache for the module N.wasm, whose digest the tests make N, too.
func fill(module, cache string) int {
	n, err := strconv.Atoi(strings.TrimSuffix(filepath.Base(module), ".wasm"))
	dir := filepath.Join(cache, fmt.Sprintf("%064x", n))
	if err := errors.Join(err, os.MkdirAll(filepath.Join(dir, "code"), 0o700)); err != nil {
		die("%v", err)
	}
	return 0
}

// command does what `wazlet-shim exec` is told to: end with a code, or say that it is up and wait.
func command(args []string) int {
	switch args[0] {
	case "exit":
		n, err := strconv.Atoi(args[1])
		if err != nil {
			die("%v", err)
		}
		return n
	case "hang":
		fmt.Println("up")
		hang()
	case "environ":
		dir, err := os.Getwd()
		if err != nil {
			die("%v", err)
		}
		fmt.Println(os.Environ(), filepath.Base(dir), syscall.Getpgrp() == os.Getpid())
		return 0
	}
	die("bad command %q", args)
	return 0
}
