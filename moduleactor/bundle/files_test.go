package bundle

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestIDValidate(t *testing.T) {
	tests := []struct {
		name string
		id   ID
		want string // error, empty for none
	}{
		{"good", ID{uid, "c-1", 7}, ""},
		{"static pod's hash as UID", ID{strings.Repeat("f", 32), "c", 0}, ""},
		{"longest container", ID{"1", strings.Repeat("a", 63), 0}, ""},
		{"parent as UID", ID{"..", "c", 0}, "podUID"},
		{"slash in UID", ID{"a/b", "c", 0}, "podUID"},
		{"no UID", ID{"", "c", 0}, "podUID"},
		{"long UID", ID{strings.Repeat("a", 65), "c", 0}, "podUID"},
		{"newline after UID", ID{"a\n", "c", 0}, "podUID"},
		{"parent as container", ID{"a", "..", 0}, "container"},
		{"hidden container", ID{"a", ".volumes", 0}, "container"},
		{"capital container", ID{"a", "C", 0}, "container"},
		{"zero byte in container", ID{"a", "c\x00", 0}, "container"},
		{"long container", ID{"a", strings.Repeat("a", 64), 0}, "container"},
		{"attempt", ID{"a", "c", -1}, "attempt"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir, err := Dir("/root", tt.id)
			if tt.want == "" {
				if err != nil || !strings.HasPrefix(dir, "/root/pods/"+tt.id.PodUID+"/") {
					t.Errorf("Dir = %q, %v", dir, err)
				}
				return
			}
			if err == nil || !strings.HasPrefix(err.Error(), tt.want+": ") {
				t.Errorf("Dir = %q, %v; want an error about %s", dir, err, tt.want)
			}
		})
	}
}

func TestSpecRoundTrip(t *testing.T) {
	want := testSpec("/r", 2, "prog", "arg")
	want.Env = []string{"A=1", "B="}
	want.Mounts = []Mount{{Host: "/h", Guest: "/g", ReadOnly: true}}
	want.Log = &Log{Path: "/l/2.log", MaxBytes: 10, MaxFiles: 5}
	want.TerminationMessagePath = "/dev/termination-log"
	want.Cgroups = []string{"/sys/fs/cgroup/memory/wazlet/x"}
	dir := t.TempDir()
	if err := WriteSpec(dir, want); err != nil {
		t.Fatal(err)
	}
	got, err := ReadSpec(dir)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("temporary files are left: %v, %v", entries, err)
	}
}

func TestSpecValidate(t *testing.T) {
	tests := []struct {
		name   string
		change func(*Spec)
		want   string
	}{
		{"version", func(s *Spec) { s.Version = 2 }, "version: want 1 (got 2)"},
		{"uid", func(s *Spec) { s.PodUID = "../x" }, `podUID: want 1 to 64 letters, digits and dashes (got "../x")`},
		{"containerID", func(s *Spec) { s.ContainerID = "docker://x" }, `containerID: want wazlet:// and 64 hexadecimal digits (got "docker://x")`},
		{"digest", func(s *Spec) { s.ModuleDigest = "md5:1" }, `moduleDigest: want sha256: and 64 hexadecimal digits (got "md5:1")`},
		{"relative module", func(s *Spec) { s.Module = "m.wasm" }, `module: want a clean absolute path (got "m.wasm")`},
		{"rootfs with ..", func(s *Spec) { s.Rootfs = "/a/../b" }, `rootfs: want a clean absolute path (got "/a/../b")`},
		{"no args", func(s *Spec) { s.Args = nil }, "args: want at least argv[0]"},
		{"zero byte in arg", func(s *Spec) { s.Args = []string{"a\x00b"} }, "args[0]: contains a zero byte"},
		{"env", func(s *Spec) { s.Env = []string{"A=1", "=x"} }, `env[1]: want NAME=value without zero bytes (name "")`},
		{"env value is not shown", func(s *Spec) { s.Env = []string{"A=secret\x00"} }, `env[0]: want NAME=value without zero bytes (name "A")`},
		{"mount", func(s *Spec) { s.Mounts = []Mount{{Host: "h", Guest: "/g"}} }, `mounts[0].host: want a clean absolute path (got "h")`},
		{"mounted twice", func(s *Spec) { s.Mounts = []Mount{{"/a", "/g", true}, {"/b", "/g", true}} }, `mounts[1].guest: "/g" is already mounts[0]`},
		{"memory", func(s *Spec) { s.MemoryBytes = -1 }, "memoryBytes: want 0 or more (got -1)"},
		{"log", func(s *Spec) { s.Log = &Log{Path: "/l", MaxBytes: -1} }, "log: maxBytes and maxFiles: want 0 or more (got -1 and 0)"},
		{"log path", func(s *Spec) { s.Log = &Log{Path: "l"} }, `log.path: want a clean absolute path (got "l")`},
		{"cgroup", func(s *Spec) { s.Cgroups = []string{"x"} }, `cgroups[0]: want a clean absolute path (got "x")`},
		{"termination", func(s *Spec) { s.TerminationMessagePath = "x" }, `terminationMessagePath: want a clean absolute path (got "x")`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := testSpec("/r", 0, "x")
			tt.change(&s)
			err := s.Validate()
			if err == nil || err.Error() != tt.want {
				t.Errorf("got %v, want %s", err, tt.want)
			}
			if err := WriteSpec(t.TempDir(), s); err == nil {
				t.Error("an invalid spec was written")
			}
		})
	}
	s := testSpec("/r", 0, "x")
	s.Version, s.MemoryBytes = 3, -2
	if err := s.Validate(); strings.Count(err.Error(), "\n") != 1 {
		t.Errorf("want both problems, got %v", err)
	}
}

func TestReadDamaged(t *testing.T) {
	good, err := json.Marshal(testSpec("/r", 0, "x"))
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct{ name, file, data, want string }{
		{"cut off", SpecFile, string(good[:50]), "decode: unexpected EOF"},
		{"unknown field", SpecFile, `{"colour":1}`, `unknown field "colour"`},
		{"two values", SpecFile, string(good) + "{}", "more than one JSON value"},
		{"large", SpecFile, strings.Repeat(" ", maxFileBytes+1), "larger than 4194304 bytes"},
		{"state without pid", StateFile, `{"startTicks":1}`, "pid: want more than 0 (got 0)"},
		{"exit without reason", ExitFile, `{"code":1}`, `reason: want Completed, Error, Trap, StartError, OOMKilled or Killed (got "")`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, tt.file)
			if err := os.WriteFile(path, []byte(tt.data), 0o600); err != nil {
				t.Fatal(err)
			}
			var err error
			switch tt.file {
			case SpecFile:
				_, err = ReadSpec(dir)
			case StateFile:
				_, err = ReadState(dir)
			case ExitFile:
				_, err = ReadExit(dir)
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), path+": ") {
				t.Errorf("got %v, want %s: …%s", err, path, tt.want)
			}
		})
	}
	_, err1 := ReadSpec(t.TempDir())
	_, err2 := ReadState(t.TempDir())
	_, err3 := ReadExit(t.TempDir())
	for _, err := range []error{err1, err2, err3} {
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("no file: %v", err)
		}
	}
}

func TestStateAndExitRoundTrip(t *testing.T) {
	dir := t.TempDir()
	now := time.Date(2026, 11, 21, 20, 0, 0, 1, time.UTC)
	st := State{PID: 4, StartTicks: 99, StartedAt: now}
	e := Exit{Code: 1, Reason: Trap, Message: "unreachable", StartedAt: now, FinishedAt: now, PeakMemoryBytes: 3, CPUTimeNanos: 4}
	if err := errors.Join(WriteState(dir, st), WriteExit(dir, e)); err != nil {
		t.Fatal(err)
	}
	gotState, err1 := ReadState(dir)
	gotExit, err2 := ReadExit(dir)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]any{st, e}, []any{gotState, gotExit}); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestEmptySpecIsNone is what a power cut at a start may leave: the attempt has not begun, and can be.
func TestEmptySpecIsNone(t *testing.T) {
	r := bare(t.TempDir())
	dir, err := Dir(r.cfg.Root, ID{uid, "c", 0})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(filepath.Join(dir, SpecFile), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadSpec(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("read: %v", err)
	}
	if found, err := r.Scan(uid); err != nil || len(found) != 0 {
		t.Errorf("found %+v, %v", found, err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the attempt is still there: %v", err)
	}
}

// TestEmptyStateIsNone is what a power cut right after a start may leave: the attempt is dead, and when it began unknown.
func TestEmptyStateIsNone(t *testing.T) {
	r := bare(t.TempDir())
	dir, err := Dir(r.cfg.Root, ID{uid, "c", 0})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	err = errors.Join(WriteSpec(dir, testSpec(r.cfg.Root, 0, "x")), os.WriteFile(filepath.Join(dir, StateFile), nil, 0o600))
	if err != nil {
		t.Fatal(err)
	}
	found, err := r.Scan(uid)
	if err != nil || len(found) != 1 {
		t.Fatalf("%+v, %v", found, err)
	}
	f := found[0]
	if f.Err != nil || f.State != nil || f.Alive || f.Exit == nil || f.Exit.Code != 137 || !f.Exit.StartedAt.IsZero() {
		t.Errorf("found %+v, exit %+v", f, f.Exit)
	}
}

func TestNewContainerID(t *testing.T) {
	a, b := NewContainerID(), NewContainerID()
	if !isContainerID(a) || a == b {
		t.Errorf("got %q and %q", a, b)
	}
}

func TestParsePID(t *testing.T) {
	tests := []struct {
		in   string
		want procID
		ok   bool
	}{
		{"12 345\n", procID{12, 345}, true},
		{"", procID{}, false},
		{"12\n", procID{}, false},
		{"-12 345\n", procID{}, false},
		{"0 345\n", procID{}, false},
		{"12 99999999999999999999999\n", procID{}, false},
		{strings.Repeat("1", 100), procID{}, false},
	}
	for _, tt := range tests {
		if got, err := parsePID([]byte(tt.in)); got != tt.want || (err == nil) != tt.ok {
			t.Errorf("parsePID(%q) = %v, %v", tt.in, got, err)
		}
	}
}

func FuzzParseSpec(f *testing.F) {
	good, err := json.Marshal(testSpec("/r", 0, "x"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"version":1,"podUID":"../.."}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := ParseSpec(data)
		if err != nil {
			return
		}
		dir, err := Dir("/root", s.ID())
		if err != nil || !strings.HasPrefix(dir, "/root/pods/") || filepath.Clean(dir) != dir {
			t.Errorf("accepted a spec of %q, %v", dir, err)
		}
		again, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		if s2, err := ParseSpec(again); err != nil || !cmp.Equal(s, s2) {
			t.Errorf("not the same when read again: %v\n%s", err, cmp.Diff(s, s2))
		}
	})
}

func FuzzParsePID(f *testing.F) {
	f.Add([]byte("12 345\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if p, err := parsePID(data); err == nil && p.pid <= 0 {
			t.Errorf("accepted pid %d", p.pid)
		}
	})
}
