package bundle

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// FakeShim is the path of testdata/fakeshim, built once.
var FakeShim string

// daemonEnv makes this test binary a daemon that starts one shim: "ROOT SHIM STEP ARGS…". It kills itself at STEP of
// Start, or goes on until it is killed.
const daemonEnv = "WAZLET_TEST_DAEMON"

type suite struct{ m *testing.M }

func (s suite) Run() int {
	dir, err := os.MkdirTemp("", "wazlet-bundle-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	FakeShim = filepath.Join(dir, "fakeshim")
	if out, err := exec.Command("go", "build", "-o", FakeShim, "./testdata/fakeshim").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build fakeshim: %v\n%s", err, out)
		return 1
	}
	return s.m.Run()
}

func TestMain(m *testing.M) {
	if v := os.Getenv(daemonEnv); v != "" {
		if err := daemon(strings.Fields(v)); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(suite{m})
}

func daemon(args []string) error {
	root, step := args[0], args[2]
	r, err := New(Config{Root: root, Shim: args[1], CacheDir: filepath.Join(root, "cache")})
	if err != nil {
		return err
	}
	r.reached = func(s string) {
		if s == step {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}
	p, err := r.Start(context.Background(), testSpec(root, 0, args[3:]...), Limits{})
	if err != nil {
		return err
	}
	if _, _, err := p.Started(context.Background()); err != nil {
		return err
	}
	fmt.Println("started")
	select {}
}

// startDaemon runs a daemon until it has started its shim, or has died at the step.
func startDaemon(t *testing.T, root, step string, args ...string) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), daemonEnv+"="+strings.Join(append([]string{root, FakeShim, step}, args...), " "))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 1000)
	n, _ := out.Read(b)
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if got := string(b[:n]); step == "-" && got != "started\n" || step != "-" && got != "" {
		t.Fatalf("daemon said %q at step %s", got, step)
	}
}

const uid = "0b9e3f5e-5d0f-4c0a-9a55-2f6a1f3a9b7c"

func testSpec(root string, attempt int, args ...string) Spec {
	return Spec{
		Version: SpecVersion, PodUID: uid, Namespace: "ns", Pod: "pod", Container: "c", Attempt: attempt,
		ContainerID: containerIDPrefix + strings.Repeat("a", 64), ImageID: "r/i@sha256:" + strings.Repeat("b", 64),
		Module: filepath.Join(root, "m.wasm"), ModuleDigest: "sha256:" + strings.Repeat("c", 64),
		CacheDir: filepath.Join(root, "cache"), Args: args, Rootfs: filepath.Join(root, "rootfs"),
	}
}

// fixture is a runtime whose shims are all killed at the end.
type fixture struct {
	*Runtime

	t    *testing.T
	root string

	mu       sync.Mutex
	warnings []error
}

func newFixture(t *testing.T, root string, change func(*Config)) *fixture {
	t.Helper()
	f := &fixture{t: t, root: root}
	cfg := Config{Root: root, Shim: FakeShim, CacheDir: filepath.Join(root, "cache"), Warn: func(err error) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.warnings = append(f.warnings, err)
	}}
	if change != nil {
		change(&cfg)
	}
	r, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	f.Runtime = r
	t.Cleanup(func() {
		_ = r.Close()
		killShims(t, root)
	})
	return f
}

func (f *fixture) warned() []error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]error(nil), f.warnings...)
}

func (f *fixture) start(attempt int, args ...string) *Process {
	f.t.Helper()
	p, err := f.Start(f.t.Context(), testSpec(f.root, attempt, args...), Limits{})
	if err != nil {
		f.t.Fatal(err)
	}
	return p
}

func deadline(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func (f *fixture) started(p *Process) State {
	f.t.Helper()
	st, ok, err := p.Started(deadline(f.t))
	if err != nil || !ok {
		f.t.Fatalf("Started = %t, %v", ok, err)
	}
	return st
}

func (f *fixture) ended(p *Process) Exit {
	f.t.Helper()
	e, err := p.Wait(deadline(f.t))
	if err != nil {
		f.t.Fatal(err)
	}
	return e
}

// shims lists the processes of shims below root.
func shims(t *testing.T, root string) []int {
	t.Helper()
	procs, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	var pids []int
	for _, p := range procs {
		pid, err := strconv.Atoi(p.Name())
		if err != nil {
			continue
		}
		cmdline, err := os.ReadFile(filepath.Join("/proc", p.Name(), "cmdline"))
		if err == nil && strings.HasPrefix(string(cmdline), FakeShim+"\x00run\x00") && strings.Contains(string(cmdline), root+"/") {
			pids = append(pids, pid)
		}
	}
	return pids
}

// killShims returns when the processes are over: one that is dying has no command line any more, but still its lock and
// its sockets.
func killShims(t *testing.T, root string) {
	t.Helper()
	for _, pid := range shims(t, root) {
		pidfd, err := pidfdOpen(pid)
		if err != nil {
			continue // it has gone meanwhile
		}
		_ = syscall.Kill(pid, syscall.SIGKILL)
		eventually(t, "the shim is dead", func() bool {
			n, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, 0)
			return err == nil && n == 1
		})
		_ = unix.Close(pidfd)
	}
	eventually(t, "all shims are gone", func() bool {
		for _, pid := range shims(t, root) {
			var ws syscall.WaitStatus
			_, _ = syscall.Wait4(pid, &ws, syscall.WNOHANG, nil) // ours; others are init's
		}
		return len(shims(t, root)) == 0
	})
}

// eventually waits for a condition that nothing tells of.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	end := time.After(time.Minute)
	for !ok() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("still not: %s", what)
		}
	}
}

func isAll(err error, targets ...error) bool {
	for _, target := range targets {
		if !errors.Is(err, target) {
			return false
		}
	}
	return true
}
