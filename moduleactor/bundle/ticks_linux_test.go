package bundle

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/procfs"
)

// statOf is a stat file as Linux 6.1 writes it, of a process that is called comm.
func statOf(comm, ticks string) string {
	return "4242 (" + comm + ") S 1 4242 4242 0 -1 4194560 5181 0 0 0 11 7 0 0 20 0 5 0 " + ticks +
		" 1273380864 3401 18446744073709551615 1 1 0 0 0 0 0 4096 0 0 0 0 17 1 0 0 0 0 0 0 0 0 0 0 0 0 0\n"
}

func TestParseStartTicks(t *testing.T) {
	for name, tt := range map[string]struct {
		stat string
		want uint64
		err  string // part of it; empty: none
	}{
		"plain":                   {statOf("wazlet-shim", "987654"), 987654, ""},
		"spaces":                  {statOf("a b c", "1"), 1, ""},
		"parentheses":             {statOf(") S 1 (", "2"), 2, ""},
		"nothing but parentheses": {statOf("))((", "3"), 3, ""},
		"a newline":               {statOf("x\n) R 9", "4"), 4, ""},
		"no name":                 {statOf("", "5"), 5, ""},
		"largest":                 {statOf("x", "18446744073709551615"), 1<<64 - 1, ""},
		"ends with field 22":      {"1 (x) S" + strings.Repeat(" 7", 19), 7, ""},
		"too large":               {statOf("x", "18446744073709551616"), 0, `field 22: want a number (got "18446744073709551616")`},
		"negative":                {statOf("x", "-1"), 0, `field 22: want a number (got "-1")`},
		"ends with field 21":      {"1 (x) S" + strings.Repeat(" 7", 18), 0, "want 22 fields or more (got 21)"},
		"ends with the name":      {"1 (x)", 0, "want 22 fields or more (got 2)"},
		"empty":                   {"", 0, `want a name in parentheses (got "")`},
		"no parenthesis":          {"1 x S", 0, "want a name in parentheses"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parseStartTicks([]byte(tt.stat))
			if tt.err == "" && err != nil || tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) {
				t.Errorf("got %v, want %q", err, tt.err)
			}
			if got != tt.want {
				t.Errorf("got %d, want %d", got, tt.want)
			}
		})
	}
}

// TestStartTicksAgrees compares with the library, for this process and for one with a bad name.
func TestStartTicksAgrees(t *testing.T) {
	name := t.TempDir() + "/a) R (b"
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(sleep, name); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), name, "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // killed
	}()
	for _, pid := range []int{os.Getpid(), cmd.Process.Pid} {
		p, err := procfs.NewProc(pid)
		if err != nil {
			t.Fatal(err)
		}
		st, err := p.Stat()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := StartTicks(pid); err != nil || got != st.Starttime || got == 0 {
			t.Errorf("%s: %d, %v; want %d", st.Comm, got, err, st.Starttime)
		}
	}
	if got, err := StartTicks(1 << 22); err == nil {
		t.Errorf("a process that cannot be: %d", got)
	}
}

func FuzzParseStartTicks(f *testing.F) {
	f.Add([]byte(statOf("a) b", "5")), "x")
	f.Add([]byte("1 ("), ") 1 2 3")
	f.Fuzz(func(t *testing.T, stat []byte, comm string) {
		if ticks, err := parseStartTicks(stat); err != nil && ticks != 0 {
			t.Errorf("%d with %v", ticks, err)
		}
		const want = 77
		if got, err := parseStartTicks([]byte(statOf(comm, strconv.Itoa(want)))); err != nil || got != want {
			t.Errorf("a process called %q: %d, %v", comm, got, err)
		}
	})
}
