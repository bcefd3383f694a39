package bundle

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestIdleness(t *testing.T) {
	const limit = 10 * time.Minute
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var i idleness
	for n, step := range []struct {
		after         time.Duration
		busy, current bool
		want          bool
	}{
		{0, true, true, false},
		{time.Hour, true, true, false}, // it has been busy for an hour
		{0, false, true, false},        // idle from now on
		{limit - 1, false, true, false},
		{1, false, true, true},
		{0, true, true, false}, // it was faster
		{time.Hour, false, true, false},
		{limit / 2, false, true, false},
		{0, true, false, false}, // of an older generation, but busy
		{0, false, false, true}, // and at once when it is not
	} {
		start = start.Add(step.after)
		if got := i.over(start, step.busy, step.current, limit); got != step.want {
			t.Errorf("step %d: %t, want %t", n, got, step.want)
		}
	}
}

// TestGenerations: names of older daemons have none; what is left of an older generation is removed by the next daemon.
func TestGenerations(t *testing.T) {
	for name, want := range map[string]bool{
		"node": true, "ns-team": true, "node.0123456789ab": true, "ns-team.0123456789ab": true,
		"node.": false, "node.0123456789aB": false, "node.0123456789abc": false, "node.0123456789ab.x": false,
		"ns-": false, "ns-a.b": false, "other": false, ".0123456789ab": false, "../x": false, "": false,
	} {
		if err := validateShim(name); (err == nil) != want {
			t.Errorf("%q: %v", name, err)
		}
	}
	root := t.TempDir()
	f := newFixture(t, root, nil)
	name, err := f.latest("node.0123456789ab")
	if again, aerr := f.latest("node"); err != nil || aerr != nil || again != name || validateShim(name) != nil {
		t.Fatalf("%q, %v; %q, %v", name, err, again, aerr)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	for _, n := range []string{name, "node", "ns-team.0123456789ab", "no-shim"} {
		if err := os.MkdirAll(filepath.Join(ShimsDir(root), n), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	newFixture(t, root, nil)
	eventually(t, "removal of older generations", func() bool {
		left, err := listDirs(ShimsDir(root), func(string) bool { return true })
		return err == nil && len(left) == 2
	})
	for _, n := range []string{name, "no-shim"} {
		if _, err := os.Stat(filepath.Join(ShimsDir(root), n)); err != nil {
			t.Error(err)
		}
	}
	other := newFixture(t, root, func(c *Config) { c.LogsDir = filepath.Join(root, "elsewhere") })
	if got, err := other.latest("node"); err != nil || got == name {
		t.Errorf("with other directories: %q, %v", got, err)
	}
}

// TestRetiredShimTakesNoAttempts: whoever wants to start one waits for its end, and then starts another. While an attempt is
// being started, a shim that says that it has none is not retired.
func TestRetiredShimTakesNoAttempts(t *testing.T) {
	f := newFixture(t, t.TempDir(), nil)
	name, err := f.latest("node")
	if err != nil {
		t.Fatal(err)
	}
	s, err := f.shim(name)
	if err != nil {
		t.Fatal(err)
	}
	pidfd, err := os.Open(os.DevNull) // nobody is killed by it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pidfd.Close() })
	f.cfg.SharedIdle = 1 // for ever ago
	l := newLink(s, 1, pidfd, nil)
	s.link = l
	p := newProcess(f.Runtime, "/attempt", testSpec(f.root, 0))
	if err := l.add(p); err != nil || p.link != l {
		t.Fatal(err)
	}
	for range 2 {
		l.rest(0)
	}
	if got, err := s.found(); got != l || err != nil {
		t.Errorf("with an attempt that is being started: %v, %v", got, err)
	}
	l.remove(p)
	l.rest(1)
	if !l.alive() {
		t.Error("retired with an attempt that nobody here knows")
	}
	eventually(t, "retirement", func() bool {
		l.rest(0)
		return !l.alive()
	})
	if err := l.add(p); !errors.Is(err, errRetired) {
		t.Errorf("an attempt for a shim that is retired: %v", err)
	}
	if _, err := s.found(); !errors.Is(err, ErrBusy) {
		t.Errorf("while it is ending: %v", err)
	}
	close(l.gone)
	if _, err := s.found(); !errors.Is(err, errNoShim) {
		t.Errorf("after its end: %v", err)
	}
}
