package bundle

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"testing"
)

func TestExec(t *testing.T) {
	f := newFixture(t, t.TempDir(), nil)
	p := f.start(0, "run")
	f.started(p)
	for _, tt := range []struct {
		args   []string
		code   int
		stdout string
		err    string
	}{
		{[]string{"exit", "0"}, 0, "", ""},
		{[]string{"exit", "9"}, 9, "", ""},
		{[]string{"environ"}, 0, "[GOTRACEBACK=single] 0 true\n", ""},
		{nil, 0, "", "exec: no command"},
		{[]string{""}, 0, "", "exec: no command"},
		{[]string{"x", "a\x00b"}, 0, "", "exec: command[1]: contains a zero byte"},
	} {
		var out bytes.Buffer
		code, err := f.Exec(deadline(t), p.id, ExecOptions{Args: tt.args, Stdout: &out})
		if code != tt.code || out.String() != tt.stdout || fmt.Sprint(err) != tt.err && (err != nil || tt.err != "") {
			t.Errorf("%q: code %d, %v, stdout %q", tt.args, code, err, out.String())
		}
	}
	if _, err := f.Exec(t.Context(), ID{uid, "c", 1}, ExecOptions{Args: []string{"exit", "0"}}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no such attempt: %v", err)
	}
	if err := p.Signal(true); err != nil {
		t.Fatal(err)
	}
	f.ended(p)
	if _, err := f.Exec(t.Context(), p.id, ExecOptions{Args: []string{"exit", "0"}}); !errors.Is(err, ErrNotRunning) {
		t.Errorf("after the end: %v", err)
	}
}

// ups counts the commands that said that they are up.
type ups chan struct{}

func (u ups) Write(p []byte) (int, error) {
	u <- struct{}{}
	return len(p), nil
}

// TestExecBound runs as many commands as may run. One more is refused; all end with the attempt, which can be removed.
func TestExecBound(t *testing.T) {
	f := newFixture(t, t.TempDir(), nil)
	p := f.start(0, "run")
	up := make(ups, maxExecs)
	var group sync.WaitGroup
	for range maxExecs {
		group.Go(func() {
			code, err := f.Exec(deadline(t), p.id, ExecOptions{Args: []string{"hang"}, Stdout: up})
			if code != 137 || err != nil {
				t.Errorf("code %d, %v", code, err)
			}
		})
	}
	for range maxExecs {
		<-up
	}
	_, err := f.Exec(deadline(t), p.id, ExecOptions{Args: []string{"hang"}})
	if err == nil || !strings.Contains(err.Error(), "32 commands run in the container already; allowed: 32") {
		t.Errorf("one more: %v", err)
	}
	if err := p.Signal(true); err != nil {
		t.Fatal(err)
	}
	f.ended(p)
	if n := len(p.execs.running); n != 0 {
		t.Errorf("the attempt ended before %d commands", n)
	}
	group.Wait()
	if err := f.RemoveAttempts(uid, "c", 0); err != nil {
		t.Error(err)
	}
}

func TestExecWithoutShim(t *testing.T) {
	f := newFixture(t, t.TempDir(), nil)
	p := f.start(0, "run")
	f.cfg.Shim = "/no/shim"
	if _, err := f.Exec(t.Context(), p.id, ExecOptions{Args: []string{"x"}, TTY: true}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

// TestExecClientGone ends one command and leaves the other and the guest.
func TestExecClientGone(t *testing.T) {
	f := newFixture(t, t.TempDir(), nil)
	p := f.start(0, "run")
	gone := errors.New("gone")
	ctx, cancel := context.WithCancelCause(deadline(t))
	up := make(ups, 2)
	ended := make(chan error, 2)
	for _, c := range []context.Context{ctx, deadline(t)} {
		go func() {
			_, err := f.Exec(c, p.id, ExecOptions{Args: []string{"hang"}, Stdout: up})
			ended <- err
		}()
		<-up
	}
	cancel(gone)
	if err := <-ended; !errors.Is(err, gone) {
		t.Errorf("%v", err)
	}
	if _, err := f.Exec(ctx, p.id, ExecOptions{Args: []string{"exit", "0"}}); !errors.Is(err, gone) {
		t.Errorf("for a client that is gone already: %v", err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Errorf("with the runtime: %v", err)
	}
	eventually(t, "the shim runs on", func() bool { return len(shims(t, f.root)) == 1 })
}
