package moduleactortest

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/wazlet/wazlet/moduleactor/bundle"
)

// Deaf as the first argument of a guest makes Shim ignore SIGTERM.
const Deaf = "deaf"

// Shim makes a wazlet-shim of the test binary: call it first in TestMain, and give os.Args[0] to bundle.Config as the
// shim. Started as one, it never returns; its guest is a process that does nothing until SIGTERM.
func Shim() {
	if len(os.Args) != 4 || os.Args[1] != "run" || os.Args[2] != "--bundle" {
		return
	}
	if err := shim(os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func shim(dir string) error {
	a, err := bundle.Attach(dir)
	if err != nil {
		return err
	}
	terminated := make(chan os.Signal, 1)
	if a.Spec().Args[0] == Deaf {
		signal.Ignore(syscall.SIGTERM)
	} else {
		signal.Notify(terminated, syscall.SIGTERM)
	}
	started := time.Now()
	if err := a.Started(started); err != nil {
		return err
	}
	<-terminated
	return a.End(bundle.Exit{Code: 143, Reason: bundle.Killed, StartedAt: started, FinishedAt: time.Now()})
}
