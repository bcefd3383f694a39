package background

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLockIsSeenWithoutBeingTaken(t *testing.T) {
	dir := t.TempDir()
	first, err := Acquire(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(first.write(record{Netns: "n"}), first.Serving()); err != nil {
		t.Fatal(err)
	}
	r, held, err := look(dir)
	if want := (record{PID: os.Getpid(), Netns: "n"}); err != nil || !held || r != want {
		t.Errorf("look: %+v, %v, %v; want %+v, held", r, held, err, want)
	}
	if _, err := Acquire(dir); !errors.Is(err, errHeld) {
		t.Errorf("a second lock: %v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if r, held, err := look(dir); err != nil || held || r.Netns != "n" {
		t.Errorf("look at what a process left: %+v, %v, %v", r, held, err)
	}
	second, err := Acquire(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
}

func TestBrokenLockIsAnError(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(lockPath(dir), []byte("rubbish"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := look(dir); err == nil || !strings.Contains(err.Error(), lockPath(dir)) {
		t.Errorf("got %v, want an error that names the file", err)
	}
}

func TestAwaitReady(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, tt := range []struct {
		name  string
		ctx   context.Context
		says  string // of the child
		close bool
		want  string
	}{
		{"ready", t.Context(), readyWord, true, ""},
		{"died", t.Context(), "", true, "ended before it was ready"},
		{"died in the middle of the word", t.Context(), "rea", true, "ended before it was ready"},
		{"interrupted", ended, "", false, "context canceled"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			defer w.Close()
			if _, err := w.WriteString(tt.says); err != nil {
				t.Fatal(err)
			}
			if tt.close {
				_ = w.Close()
			}
			err = awaitReady(tt.ctx, r)
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestTailIsOfThisStart(t *testing.T) {
	log, err := os.OpenFile(filepath.Join(t.TempDir(), "log"), os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	if _, err := log.WriteString("of the last time\n"); err != nil {
		t.Fatal(err)
	}
	if got := tail(log, 17); got != "" {
		t.Errorf("got %q of a silent start", got)
	}
	if _, err := log.WriteString(strings.Repeat("x", 5000) + " the reason\n"); err != nil {
		t.Fatal(err)
	}
	got := tail(log, 17)
	if !strings.HasSuffix(got, " the reason") || strings.Contains(got, "last time") || len(got) > 4100 {
		t.Errorf("got %d bytes: %q", len(got), got)
	}
}
