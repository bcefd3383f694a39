package main

import (
	"bytes"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sys/unix"

	"github.com/wazlet/wazlet/moduleactor/bundle"
	"github.com/wazlet/wazlet/moduleactor/engine"
	"github.com/wazlet/wazlet/moduleactor/engine/enginetest"
)

// ignore what differs between runs.
func sameExit(want, got bundle.Exit) string {
	return cmp.Diff(want, got, cmpopts.IgnoreFields(bundle.Exit{}, "StartedAt", "FinishedAt", "CPUTimeNanos", "PeakMemoryBytes"))
}

func TestRun(t *testing.T) {
	dir := newBundle(t, enginetest.C(t, "hello.c"), func(s *bundle.Spec) {
		s.Args, s.Env = []string{"hello", "you"}, []string{"CODE=7"}
	})
	exit := wait(t, start(t, dir), dir)
	if diff := sameExit(bundle.Exit{Code: 7, Reason: bundle.Error}, exit); diff != "" {
		t.Error(diff)
	}
	if exit.StartedAt.IsZero() || exit.FinishedAt.Before(exit.StartedAt) || exit.CPUTimeNanos == 0 || exit.PeakMemoryBytes == 0 {
		t.Errorf("%+v", exit)
	}
	state, err := bundle.ReadState(dir)
	if err != nil || !state.StartedAt.Equal(exit.StartedAt) {
		t.Errorf("%+v, %v", state, err)
	}
	log, err := os.ReadFile(filepath.Join(dir, "logs", "0.log"))
	if err != nil {
		t.Fatal(err)
	}
	lines := slices.Sorted(strings.Lines(regexp.MustCompile(`(?m)^\S+ `).ReplaceAllString(string(log), "")))
	want := []string{"stderr F to stderr\n", "stdout F arg hello\n", "stdout F arg you\n", "stdout F env CODE=7\n"}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Error(diff)
	}
}

func TestRunInForeground(t *testing.T) {
	dir := newBundle(t, enginetest.C(t, "cat.c"), func(s *bundle.Spec) { s.Log = nil })
	cmd := command(t, "run", "--bundle", dir)
	cmd.Stdin = strings.NewReader("from stdin\n")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("from stdin\n", string(out)); diff != "" {
		t.Error(diff)
	}
}

// TestDescriptorsOfTheDaemon passes the lock and the pipe as the daemon does.
func TestDescriptorsOfTheDaemon(t *testing.T) {
	dir := newBundle(t, enginetest.C(t, "idle.c"), nil)
	lock, err := os.OpenFile(filepath.Join(dir, bundle.LockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := command(t, "run", "--bundle", dir)
	cmd.ExtraFiles = []*os.File{lock, w}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_, _ = lock.Close(), w.Close()
	var ready [2]byte
	if n, err := r.Read(ready[:]); n != 1 || err != nil {
		t.Fatalf("ready pipe: %d, %v", n, err)
	}
	state, err := bundle.ReadState(dir)
	if err != nil || state.PID != cmd.Process.Pid {
		t.Errorf("%+v, %v", state, err)
	}
	again, err := os.Open(filepath.Join(dir, bundle.LockFile))
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if err := syscall.Flock(int(again.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err == nil {
		t.Error("the lock is free while the shim runs")
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	wait(t, cmd, dir)
	if err := syscall.Flock(int(again.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		t.Errorf("the lock is held after the shim: %v", err)
	}
}

func TestTerminate(t *testing.T) {
	dir := newBundle(t, enginetest.C(t, "idle.c"), nil)
	cmd := start(t, dir)
	logged(t, dir, "up")
	for _, sig := range []os.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM} { // the first two do nothing
		if err := cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
	}
	exit := wait(t, cmd, dir)
	if diff := sameExit(bundle.Exit{Code: 143, Reason: bundle.Killed, Message: "terminated by SIGTERM"}, exit); diff != "" {
		t.Error(diff)
	}
	if exit.StartedAt.IsZero() {
		t.Error("no start")
	}
	logged(t, dir, "unfinished")
}

// TestSignalsReachTheGuest sends them to a guest that has asked for them; it ends by itself.
func TestSignalsReachTheGuest(t *testing.T) {
	for sig, want := range map[syscall.Signal]string{syscall.SIGTERM: "got 1 15", syscall.SIGHUP: "got 1 1"} {
		t.Run(sig.String(), func(t *testing.T) {
			dir := newBundle(t, enginetest.C(t, "wait.c"), func(s *bundle.Spec) { s.Signals, s.Args = true, []string{"wait", "signal"} })
			cmd := start(t, dir)
			logged(t, dir, "waiting")
			if err := cmd.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
			if diff := sameExit(bundle.Exit{Reason: bundle.Completed}, wait(t, cmd, dir)); diff != "" {
				t.Error(diff)
			}
			logged(t, dir, want)
		})
	}
}

func TestRefusesToRunTwice(t *testing.T) {
	dir := newBundle(t, enginetest.C(t, "hello.c"), nil)
	wait(t, start(t, dir), dir)
	before, err := os.ReadFile(filepath.Join(dir, bundle.ExitFile))
	if err != nil {
		t.Fatal(err)
	}
	out, err := command(t, "run", "--bundle", dir).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "attempt exists") {
		t.Errorf("%v, %s", err, out)
	}
	if after, err := os.ReadFile(filepath.Join(dir, bundle.ExitFile)); !bytes.Equal(before, after) {
		t.Errorf("exit.json changed: %s, %v", after, err)
	}
}

func TestStartErrors(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*bundle.Spec)
		want   string // DIR is the bundle
	}{
		"no module": {
			func(s *bundle.Spec) { s.Module = filepath.Dir(s.Module) + "/nothing" },
			"module: open DIR/nothing: no such file or directory",
		},
		"the module is a directory": {
			func(s *bundle.Spec) { s.Module = filepath.Dir(s.Module) },
			"module: DIR is not a regular file",
		},
		"another module": {
			func(s *bundle.Spec) { s.ModuleDigest = "sha256:" + strings.Repeat("0", 64) },
			"the module has the digest DIGEST, want sha256:" + strings.Repeat("0", 64),
		},
		"no volume": {
			func(s *bundle.Spec) {
				s.Mounts = []bundle.Mount{{Host: s.Rootfs + "/nothing", Guest: "/data"}}
			},
			"mount /data: open DIR/rootfs/nothing: no such file or directory",
		},
		"no cgroup": {
			func(s *bundle.Spec) { s.Cgroups = []string{s.Rootfs + "/nothing"} },
			"DIR/rootfs/nothing",
		},
		"too little memory": {
			func(s *bundle.Spec) { s.MemoryBytes = 1000 },
			"the module cannot run here: its memory starts with 131072 bytes, above the memory limit of 1000 bytes",
		},
	} {
		t.Run(name, func(t *testing.T) {
			code := enginetest.C(t, "hello.c")
			dir := newBundle(t, code, tc.change)
			exit := wait(t, start(t, dir), dir)
			want := strings.NewReplacer("DIR", dir, "DIGEST", engine.Digest(code)).Replace(tc.want)
			if exit.Code != 128 || exit.Reason != bundle.StartError || !strings.Contains(exit.Message, want) {
				t.Errorf("got %d %s %q, want %q", exit.Code, exit.Reason, exit.Message, want)
			}
			if !exit.StartedAt.IsZero() || exit.FinishedAt.IsZero() {
				t.Errorf("%+v", exit)
			}
		})
	}
}

func TestFiles(t *testing.T) {
	for name, c := range map[string]struct{ readOnly, network bool }{
		"read-write root": {false, false}, "read-only root": {true, false}, "with a network": {false, true},
	} {
		t.Run(name, func(t *testing.T) {
			host := t.TempDir()
			for _, d := range []string{"rw", "ro"} {
				if err := os.Mkdir(filepath.Join(host, d), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.WriteFile(filepath.Join(host, "ro", "file"), []byte("from the host"), 0o600); err != nil {
				t.Fatal(err)
			}
			dir := newBundle(t, enginetest.C(t, "files.c"), func(s *bundle.Spec) {
				s.Mounts = []bundle.Mount{
					{Host: filepath.Join(host, "rw"), Guest: "/rw"},
					{Host: filepath.Join(host, "ro"), Guest: "/ro", ReadOnly: true},
					{Host: filepath.Join(host, "ro", "file"), Guest: "/etc/app.conf", ReadOnly: true},
				}
				s.TerminationMessagePath = "/dev/termination-log"
				if c.network {
					s.Network = &bundle.Network{}
				}
				if s.RootReadOnly = c.readOnly; c.readOnly {
					s.Args = append(s.Args, "read-only")
				}
			})
			exit := wait(t, start(t, dir), dir)
			if diff := sameExit(bundle.Exit{Reason: bundle.Completed}, exit); diff != "" {
				log, _ := os.ReadFile(filepath.Join(dir, "logs", "0.log"))
				t.Errorf("%s\n%s", diff, log)
			}
			for path, want := range map[string]string{
				filepath.Join(host, "rw", "b", "file"):    "from the guest",
				filepath.Join(dir, bundle.TerminationLog): "the end",
			} {
				if got, err := os.ReadFile(path); string(got) != want || err != nil {
					t.Errorf("%s: %q, %v", path, got, err)
				}
			}
		})
	}
}

func TestConfine(t *testing.T) {
	if abi, _, _ := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION); int(abi) < 6 {
		t.Skipf("this kernel's Landlock has version %d, below 6", int(abi))
	}
	dir := t.TempDir()
	for _, d := range []string{"bundle", "cache/own", "cache/other", "rootfs", "log", "outside", "volume"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range []string{"outside/file", "rootfs/file", "volume/file", "cache/own/file", "bundle/poison", "bundle/others"} {
		if err := os.WriteFile(filepath.Join(dir, f), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(filepath.Join(dir, "bundle", "others"), 1234, 1234); err != nil {
			t.Fatal(err)
		}
	}
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe, dir, listener.Addr().String())
	cmd.Env = append(os.Environ(), roleEnv+"=confined")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	want := `read outside: false
write outside: false
read the root: true
read the volume: true
write the read-only root: false
write the bundle: true
read its cache: true
write its cache: false
replace its cache: false
remove its cache: false
write the cache of another: false
write a file of another user: true
set its times: true
write the log: true
connect: false
signal the parent: false
no new privileges: true
few capabilities: true
`
	if diff := cmp.Diff(want, string(out)); diff != "" {
		t.Error(diff)
	}
}

func TestNoNewPrivilegesWithoutLandlock(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe)
	cmd.Env = append(os.Environ(), roleEnv+"=unprivileged")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if !strings.HasSuffix(string(out), "then true\n") {
		t.Errorf("%s", out)
	}
}

// TestSwappedForLink is what a sibling in the Pod can do to a subPath of a volume that both have, after the spec was
// written: the guest must not see where the link leads.
func TestSwappedForLink(t *testing.T) {
	for name, tc := range map[string]struct {
		host string // below the volume
		swap string // is replaced by a link to ../outside
		want string
	}{
		"the directory":        {"sub", "sub", "mount /data: open DIR/volume/sub: is a symbolic link"},
		"a directory above it": {"sub/deep", "sub", "mount /data: open DIR/volume/sub: is a symbolic link"},
		"a file":               {"sub/deep/file", "sub/deep/file", "mount /data: open DIR/volume/sub/deep/file: is a symbolic link"},
		"the volume":           {"sub", ".", "mount /data: open DIR/volume: is a symbolic link"},
	} {
		for landlock, on := range map[string]bool{"": true, ", without Landlock": false} {
			t.Run(name+landlock, func(t *testing.T) {
				host := volumeWithSub(t)
				dir := newBundle(t, enginetest.C(t, "hello.c"), func(s *bundle.Spec) {
					s.Landlock, s.Mounts = on, []bundle.Mount{{Host: filepath.Join(host, "volume", tc.host), Guest: "/data"}}
				})
				swap(t, filepath.Join(host, "volume", tc.swap), filepath.Join(host, "outside"))
				exit := wait(t, start(t, dir), dir)
				want := strings.ReplaceAll(tc.want, "DIR", host)
				if exit.Code != 128 || exit.Reason != bundle.StartError || !strings.Contains(exit.Message, want) {
					t.Errorf("got %d %s %q, want %q", exit.Code, exit.Reason, exit.Message, want)
				}
				if log, err := os.ReadFile(filepath.Join(dir, "logs", "0.log")); len(log) > 0 {
					t.Errorf("the guest ran: %s, %v", log, err)
				}
			})
		}
	}
}

// volumeWithSub makes volume/sub/deep/file, and outside with the same below it.
func volumeWithSub(t *testing.T) string {
	t.Helper()
	host := t.TempDir()
	for _, d := range []string{"volume/sub/deep", "outside/deep"} {
		dir := filepath.Join(host, d)
		if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, "file"), nil, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	return host
}

// swap replaces path by a relative link to target, as a guest can.
func swap(t *testing.T, path, target string) {
	t.Helper()
	rel, err := filepath.Rel(filepath.Dir(path), target)
	if err := errors.Join(err, os.Rename(path, path+".moved"), os.Symlink(rel, path)); err != nil {
		t.Fatal(err)
	}
}

// TestRootIsALink: the root of the guest is opened as the mounts are.
func TestRootIsALink(t *testing.T) {
	host := volumeWithSub(t)
	dir := newBundle(t, enginetest.C(t, "hello.c"), nil)
	swap(t, filepath.Join(dir, bundle.RootfsDir), filepath.Join(host, "outside"))
	exit := wait(t, start(t, dir), dir)
	want := "mount /: open " + filepath.Join(dir, bundle.RootfsDir) + ": is a symbolic link"
	if exit.Code != 128 || exit.Reason != bundle.StartError || !strings.Contains(exit.Message, want) {
		t.Errorf("got %d %s %q, want %q", exit.Code, exit.Reason, exit.Message, want)
	}
}

// TestBundleBehindALink is a daemon whose root directory is a link.
func TestBundleBehindALink(t *testing.T) {
	host := t.TempDir()
	for _, d := range []string{"rw", "ro"} {
		if err := os.Mkdir(filepath.Join(host, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(host, "ro", "file"), []byte("from the host"), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := newBundle(t, enginetest.C(t, "files.c"), func(s *bundle.Spec) {
		s.Mounts = []bundle.Mount{
			{Host: filepath.Join(host, "rw"), Guest: "/rw"},
			{Host: filepath.Join(host, "ro"), Guest: "/ro", ReadOnly: true},
			{Host: filepath.Join(host, "ro", "file"), Guest: "/etc/app.conf", ReadOnly: true},
		}
		s.TerminationMessagePath = "/dev/termination-log"
	})
	link := filepath.Join(host, "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	exit := wait(t, start(t, link), dir)
	if diff := sameExit(bundle.Exit{Reason: bundle.Completed}, exit); diff != "" {
		t.Error(diff)
	}
	if got, err := os.ReadFile(filepath.Join(dir, bundle.TerminationLog)); string(got) != "the end" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}
