package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wazlet/wazlet/moduleactor/bundle"
	"github.com/wazlet/wazlet/moduleactor/engine"
	"github.com/wazlet/wazlet/moduleactor/engine/rootfs"
)

// roleEnv makes this test binary a process that confines itself and reports what it can still do.
const roleEnv = "WAZLET_TEST_ROLE"

// binary is the shim, built as it is released: with the race detector the compiler takes minutes for a Go guest.
var binary string //nolint:gochecknoglobals // set by TestMain

func TestMain(m *testing.M) {
	switch os.Getenv(roleEnv) {
	case "confined":
		os.Exit(confined(os.Args[1]))
	case "unprivileged":
		os.Exit(unprivileged())
	}
	os.Exit(buildAndTest(m))
}

func buildAndTest(m *testing.M) int {
	dir, err := os.MkdirTemp("", "wazlet-shim-test-*")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "wazlet-shim")
	cmd := exec.CommandContext(context.Background(), "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", binary, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build the shim: %v\n%s", err, text)
		return 1
	}
	return m.Run()
}

// confined prints the outcome of things that a confined shim must and must not be able to do.
func confined(dir string) int {
	s := &shim{dir: filepath.Join(dir, "bundle"), spec: bundle.Spec{
		Landlock: true, CacheDir: filepath.Join(dir, "cache"), ModuleDigest: "sha256:own", Rootfs: filepath.Join(dir, "rootfs"),
		Log: &bundle.Log{Path: filepath.Join(dir, "log", "0.log")},
	}}
	threads := openThreads()
	volume := filepath.Join(dir, "volume")
	root, err := rootfs.Open(rootfs.Mount{Host: s.spec.Rootfs, ReadOnly: true}, []rootfs.Mount{{Host: volume, Guest: "/volume"}})
	if err == nil { // another guest is faster than Landlock
		err = errors.Join(os.Rename(volume, volume+".moved"), os.Symlink("outside", volume))
	}
	if err == nil {
		err = s.confine(root.Opened())
	}
	if err != nil {
		fmt.Println("confine:", err)
		return 1
	}
	_, readVolume := os.ReadFile(filepath.Join(dir, "volume.moved", "file"))
	write := func(name string) error { return os.WriteFile(filepath.Join(dir, name), nil, 0o600) }
	_, readOutside := os.ReadFile(filepath.Join(dir, "outside", "file"))
	_, readCache := os.ReadFile(filepath.Join(dir, "cache", "own", "file"))
	_, readRoot := os.ReadFile(filepath.Join(dir, "rootfs", "file"))
	dialer := net.Dialer{}
	conn, dial := dialer.DialContext(context.Background(), "tcp", os.Args[2])
	if dial == nil {
		_ = conn.Close()
	}
	for _, r := range []struct {
		name string
		err  error
	}{
		{"read outside", readOutside},
		{"write outside", write("outside/new")},
		{"read the root", readRoot},
		{"read the volume", readVolume},
		{"write the read-only root", write("rootfs/new")},
		{"write the bundle", write("bundle/new")},
		{"read its cache", readCache},
		{"write its cache", write("cache/own/new")},
		{"replace its cache", os.Rename(filepath.Join(dir, "bundle", "poison"), filepath.Join(dir, "cache", "own", "file"))},
		{"remove its cache", os.Remove(filepath.Join(dir, "cache", "own", "file"))},
		{"write the cache of another", write("cache/other/new")},
		{"write a file of another user", write("bundle/others")},
		{"set its times", os.Chtimes(filepath.Join(dir, "bundle", "others"), time.Unix(1, 0), time.Unix(1, 0))},
		{"write the log", write("log/0.log")},
		{"connect", dial},
		{"signal the parent", syscall.Kill(os.Getppid(), 0)},
	} {
		fmt.Printf("%s: %v\n", r.name, errors.Is(r.err, nil))
	}
	fmt.Printf("no new privileges: %v\n", noNewPrivileges(threads))
	fmt.Printf("few capabilities: %v\n", fewCapabilities(threads))
	return 0
}

// unprivileged is confined without Landlock.
func unprivileged() int {
	threads := openThreads()
	before := noNewPrivileges(threads)
	s := &shim{}
	if err := s.confine(nil); err != nil {
		fmt.Println("confine:", err)
		return 1
	}
	fmt.Printf("no new privileges: %v, then %v\n", before, noNewPrivileges(threads))
	return 0
}

// openThreads opens the status of each thread, which a confined process could not.
func openThreads() []*os.File {
	names, _ := filepath.Glob("/proc/self/task/*/status")
	var files []*os.File
	for _, n := range names {
		if f, err := os.Open(n); err == nil {
			files = append(files, f)
		}
	}
	return files
}

// noNewPrivileges says whether no thread can get any.
func noNewPrivileges(threads []*os.File) bool {
	for _, f := range threads {
		status := make([]byte, 4096)
		if n, err := f.ReadAt(status, 0); n == 0 || !bytes.Contains(status, []byte("NoNewPrivs:\t1")) {
			fmt.Printf("%s: %v\n", f.Name(), err)
			return false
		}
	}
	return len(threads) > 1
}

// fewCapabilities says whether no thread has more capabilities than shims keep.
func fewCapabilities(threads []*os.File) bool {
	sets := regexp.MustCompile(`Cap(?:Inh|Prm|Eff|Amb):\t([0-9a-f]+)`)
	for _, f := range threads {
		status := make([]byte, 4096)
		n, _ := f.ReadAt(status, 0)
		found := sets.FindAllSubmatch(status[:n], -1)
		for _, set := range found {
			if v, err := strconv.ParseUint(string(set[1]), 16, 64); err != nil || v&^keptCapabilities != 0 {
				fmt.Printf("%s: %s\n", f.Name(), set[0])
				return false
			}
		}
		if len(found) != 4 {
			return false
		}
	}
	return len(threads) > 1
}

// newBundle makes a bundle for the module; change may change its spec.
func newBundle(t *testing.T, code []byte, change func(*bundle.Spec)) string {
	t.Helper()
	dir := t.TempDir()
	spec := bundle.Spec{
		Version: bundle.SpecVersion, PodUID: "11111111-2222-3333-4444-555555555555", Namespace: "default", Pod: "pod", Container: "main",
		ContainerID: bundle.NewContainerID(), ImageID: "image", Module: filepath.Join(dir, "module.wasm"), ModuleDigest: engine.Digest(code),
		CacheDir: filepath.Join(dir, "cache"), Args: []string{"guest"}, Rootfs: filepath.Join(dir, bundle.RootfsDir), Landlock: true,
		Log: &bundle.Log{Path: filepath.Join(dir, "logs", "0.log"), MaxBytes: 1 << 20, MaxFiles: 3},
	}
	if change != nil {
		change(&spec)
	}
	err := errors.Join(os.Mkdir(spec.Rootfs, 0o755), os.WriteFile(filepath.Join(dir, "module.wasm"), code, 0o600), bundle.WriteSpec(dir, spec))
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// command is a command of the shim.
func command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	return exec.CommandContext(t.Context(), binary, args...)
}

// start starts a shim on the bundle. What it writes to stderr, which is little, shows when the test fails.
func start(t *testing.T, dir string) *exec.Cmd {
	t.Helper()
	cmd := command(t, "run", "--bundle", dir)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if cmd.ProcessState == nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
		if t.Failed() {
			t.Logf("stderr of the shim: %s", stderr.String())
		}
	})
	return cmd
}

// wait waits for the shim and returns how the guest ended.
func wait(t *testing.T, cmd *exec.Cmd, dir string) bundle.Exit {
	t.Helper()
	err := cmd.Wait()
	exit, readErr := bundle.ReadExit(dir)
	if readErr != nil {
		t.Fatalf("%v (the shim: %v)", readErr, err)
	}
	if cmd.ProcessState.ExitCode() != int(exit.Code) {
		t.Errorf("the shim ended with %v, the guest with %d", cmd.ProcessState, exit.Code)
	}
	return exit
}

// eventually waits until cond holds.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.NewTimer(time.Minute)
	defer deadline.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("no %s after a minute", what)
		}
	}
}

// logged waits until the guest's log has the text.
func logged(t *testing.T, dir, text string) {
	t.Helper()
	eventually(t, text, func() bool {
		b, err := os.ReadFile(filepath.Join(dir, "logs", "0.log"))
		return err == nil && strings.Contains(string(b), text)
	})
}

// maxRSS is the most memory that the shim had, in bytes.
func maxRSS(t *testing.T, cmd *exec.Cmd) int64 {
	t.Helper()
	usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		t.Fatal("no usage")
	}
	return usage.Maxrss << 10
}
