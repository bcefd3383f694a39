package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wazlet/wazlet/moduleactor/bundle"
	"github.com/wazlet/wazlet/moduleactor/bundle/pty"
	"github.com/wazlet/wazlet/moduleactor/engine"
	"github.com/wazlet/wazlet/moduleactor/engine/enginetest"
)

// container is a running container and the runtime that started it.
type container struct {
	*bundle.Runtime
	*bundle.Process

	t    *testing.T
	id   bundle.ID
	spec bundle.Spec
}

// newContainer starts the module as a daemon would; files are written to its root, change may change its spec.
func newContainer(t *testing.T, code []byte, files map[string][]byte, change func(*bundle.Spec)) *container {
	t.Helper()
	root := t.TempDir()
	id := bundle.ID{PodUID: "11111111-2222-3333-4444-555555555555", Container: "main"}
	dir, err := bundle.Dir(root, id)
	if err != nil {
		t.Fatal(err)
	}
	spec := bundle.Spec{
		Version: bundle.SpecVersion, PodUID: id.PodUID, Namespace: "default", Pod: "pod", Container: id.Container,
		ContainerID: bundle.NewContainerID(), ImageID: "image", Module: filepath.Join(root, "images", "module.wasm"), ModuleDigest: engine.Digest(code),
		CacheDir: filepath.Join(root, "cache"), Args: []string{"guest", "idle"}, Rootfs: filepath.Join(dir, bundle.RootfsDir), Landlock: true,
		Log: &bundle.Log{Path: filepath.Join(root, "logs", "0.log"), MaxBytes: 1 << 20, MaxFiles: 3},
	}
	if change != nil {
		change(&spec)
	}
	err = errors.Join(os.MkdirAll(spec.Rootfs, 0o755), os.MkdirAll(filepath.Dir(spec.Module), 0o700), os.WriteFile(spec.Module, code, 0o600))
	for name, content := range files {
		path := filepath.Join(spec.Rootfs, name)
		err = errors.Join(err, os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, content, 0o600))
	}
	if err != nil {
		t.Fatal(err)
	}
	r, err := bundle.New(bundle.Config{Root: root, Shim: binary, CacheDir: spec.CacheDir})
	if err != nil {
		t.Fatal(err)
	}
	p, err := r.Start(t.Context(), spec, bundle.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	c := &container{Runtime: r, Process: p, t: t, id: id, spec: spec}
	t.Cleanup(func() {
		c.kill()
		_ = r.Close()
		if spec.Shim != "" {
			_ = syscall.Kill(p.PID(), syscall.SIGKILL)
		}
	})
	if _, ok, err := p.Started(c.deadline()); !ok || err != nil {
		x, _ := p.Wait(c.deadline())
		t.Fatalf("the guest did not start: %v, %+v", err, x)
	}
	return c
}

func (c *container) deadline() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	c.t.Cleanup(cancel)
	return ctx
}

func (c *container) kill() {
	_ = c.Signal(true)
	_, _ = c.Wait(c.deadline())
}

// exec runs a command to its end.
func (c *container) exec(stdin string, args ...string) (code int, stdout, stderr string) {
	c.t.Helper()
	var out, errs bytes.Buffer
	code, err := c.Exec(c.deadline(), c.id, bundle.ExecOptions{
		Args: args, Stdin: strings.NewReader(stdin), Stdout: &out, Stderr: &errs,
	})
	if err != nil {
		c.t.Fatal(err)
	}
	return code, out.String(), errs.String()
}

// eitherWay runs a test in both isolations, each given as the name of its shared shim.
func eitherWay(t *testing.T, test func(t *testing.T, shim string)) {
	for name, shim := range map[string]string{"process": "", "shared": bundle.SharedShim("")} {
		t.Run(name, func(t *testing.T) { test(t, shim) })
	}
}

func TestExec(t *testing.T) { eitherWay(t, testExec) }

func testExec(t *testing.T, shim string) {
	multi, hello := enginetest.C(t, "multi.c"), enginetest.C(t, "hello.c")
	c := newContainer(t, multi, map[string][]byte{
		"bin/hello.wasm": hello, "bin/text.wasm": []byte("no wasm"), "bin/dir.wasm/x": nil, "etc/motd": []byte("welcome"),
	}, func(s *bundle.Spec) {
		s.Env, s.MemoryBytes = []string{"COLOUR=blue", "PWD=/bin", "CODE=3"}, 4<<20
		s.Args, s.Shim = []string{"guest.wasm", "idle"}, shim
	})
	if err := os.Symlink("/etc/passwd", filepath.Join(c.spec.Rootfs, "bin", "out.wasm")); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, stdin    string
		args           []string
		code           int
		stdout, stderr string // stderr: part of it
	}{
		{"the module itself, by argv", "", []string{"anything", "args"}, 0, "anything\nargs\n", ""},
		{"the module itself, by its name", "", []string{"/x/guest.wasm", "args"}, 0, "/x/guest.wasm\nargs\n", ""},
		{"argv[0] alone", "", []string{"args"}, 0, "args\n", ""},
		{"environment", "", []string{"x", "env", "COLOUR"}, 0, "blue\n", ""},
		{"stdin", "in and out", []string{"x", "cat"}, 0, "in and out", ""},
		{"a file of the container", "", []string{"x", "cat", "/etc/motd"}, 0, "welcome", ""},
		{"exit code and both streams", "", []string{"x", "fail", "7"}, 7, "to stdout\n", "to stderr\n"},
		{"trap", "", []string{"x", "trap"}, 134, "", "wasm error: unreachable"},
		{"memory limit", "", []string{"x", "hoard"}, 42, "", "the guest's memory reached its limit of 4194304 bytes"},
		{"another module", "", []string{"/bin/hello.wasm", "you"}, 3, "arg /bin/hello.wasm\narg you\nenv COLOUR=blue\nenv PWD=/bin\nenv CODE=3\n", "to stderr\n"},
		{"another module, relative", "", []string{"./hello.wasm"}, 3, "arg ./hello.wasm\nenv COLOUR=blue\nenv PWD=/bin\nenv CODE=3\n", "to stderr\n"},
		{"no such module", "", []string{"/bin/none.wasm"}, 127, "", `exec: "/bin/none.wasm": file does not exist in the container`},
		{"no module", "", []string{"text.wasm"}, 126, "", `exec: "text.wasm": `},
		{"a directory", "", []string{"dir.wasm"}, 126, "", `exec: "dir.wasm": is not a regular file (got d`},
		{"a link that leads out", "", []string{"out.wasm"}, 126, "", `exec: "out.wasm": path escapes from parent`},
		{"a path that leads out", "", []string{"../../module.wasm"}, 127, "", "does not exist"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c.t = t
			code, stdout, stderr := c.exec(tt.stdin, tt.args...)
			if diff := cmp.Diff(tt.stdout, stdout); code != tt.code || diff != "" {
				t.Errorf("exit code %d, want %d; stdout (-want +got):\n%s", code, tt.code, diff)
			}
			if !strings.Contains(stderr, tt.stderr) || tt.stderr == "" && stderr != "" {
				t.Errorf("stderr %q, want %q", stderr, tt.stderr)
			}
		})
	}
	if shim != "" { // which has many guests
		return
	}
	limits, err := os.ReadFile("/proc/" + strconv.Itoa(c.PID()) + "/limits")
	if err != nil || !regexp.MustCompile(`Max open files +(\d{1,4}|1[0-6]\d{3}) `).Match(limits) {
		t.Errorf("%v, %s", err, limits)
	}
	entries, err := os.ReadDir(c.spec.CacheDir)
	if err != nil || len(entries) != 1 {
		t.Errorf("the cache holds %v, %v; want the container's own module", entries, err)
	}
}

// TestExecBelievesTheDaemon: a guest's process that has broken out of the guest may write to its bundle, but not say by it what a command
// beside it may do, which begins outside of all bounds.
func TestExecBelievesTheDaemon(t *testing.T) {
	eitherWay(t, func(t *testing.T, shim string) {
		c := newContainer(t, enginetest.C(t, "multi.c"), nil, func(s *bundle.Spec) { s.Shim = shim })
		if code, stdout, _ := c.exec("", "args"); code != 0 || stdout != "args\n" {
			t.Fatalf("code %d, %q", code, stdout)
		}
		dir, err := bundle.Dir(strings.TrimSuffix(c.spec.CacheDir, "/cache"), c.id)
		if err != nil {
			t.Fatal(err)
		}
		spec, err := bundle.ReadSpec(dir)
		if err != nil {
			t.Fatal(err)
		}
		spec.Landlock, spec.Mounts = false, []bundle.Mount{{Host: "/", Guest: "/host"}}
		if err := bundle.WriteSpec(dir, spec); err != nil {
			t.Fatal(err)
		}
		code, stdout, stderr := c.exec("", "args")
		if want := "exec: \"args\": spec.json is not what the daemon has written\n"; code != 126 || stdout != "" || stderr != want {
			t.Errorf("code %d, stdout %q, stderr %q, want %q", code, stdout, stderr, want)
		}
	})
}

// TestExecSharesFiles shows that a command and the container see the same files, and the same limits to them.
func TestExecSharesFiles(t *testing.T) { eitherWay(t, testExecSharesFiles) }

func testExecSharesFiles(t *testing.T, shim string) {
	c := newContainer(t, enginetest.C(t, "multi.c"), nil, func(s *bundle.Spec) { s.TerminationMessagePath, s.Shim = "/dev/termination-log", shim })
	if code, _, stderr := c.exec("", "x", "write", "/new", "text"); code != 0 {
		t.Fatal(code, stderr)
	}
	if _, stdout, _ := c.exec("", "x", "cat", "/new"); stdout != "text" {
		t.Errorf("read back %q", stdout)
	}
	if code, _, stderr := c.exec("", "x", "write", "/dev/termination-log", "why"); code != 0 {
		t.Errorf("the termination message cannot be written: %s", stderr)
	}
}

// TestExecEnds has commands that never end by themselves.
func TestExecEnds(t *testing.T) { eitherWay(t, testExecEnds) }

func testExecEnds(t *testing.T, shim string) {
	beside := 1 // the container's own
	if shim != "" {
		beside = 0
	}
	multi := enginetest.C(t, "multi.c")
	for _, guest := range []string{"spin", "idle", "flood"} {
		for name, end := range map[string]func(*container, context.CancelCauseFunc){
			"client gone":     func(_ *container, gone context.CancelCauseFunc) { gone(errGone) },
			"container ended": func(c *container, _ context.CancelCauseFunc) { c.kill() },
			"daemon ends":     func(c *container, _ context.CancelCauseFunc) { _ = c.Close() },
		} {
			t.Run(guest+", "+name, func(t *testing.T) {
				t.Parallel()
				c := newContainer(t, multi, nil, func(s *bundle.Spec) { s.Shim = shim })
				ctx, gone := context.WithCancelCause(c.deadline())
				defer gone(nil)
				out := &firstWrite{seen: make(chan struct{})}
				type result struct {
					code int
					err  error
				}
				ended := make(chan result, 1)
				go func() {
					code, err := c.Exec(ctx, c.id, bundle.ExecOptions{Args: []string{"x", guest}, Stdout: out})
					ended <- result{code, err}
				}()
				select {
				case <-out.seen:
				case r := <-ended:
					t.Fatalf("ended at once: %+v", r)
				}
				end(c, gone)
				r := <-ended
				if want := errGone; name == "client gone" && !errors.Is(r.err, want) {
					t.Errorf("%+v, want %v", r, want)
				}
				if name != "client gone" && (r.code != 137 || r.err != nil) {
					t.Errorf("%+v, want 137", r)
				}
				if left := processes(t, c.spec.Rootfs); name != "daemon ends" && len(left) > beside {
					t.Errorf("left: %v", left)
				}
				if name == "daemon ends" { // its shim goes on
					for pid := range processes(t, c.spec.Rootfs) {
						_ = syscall.Kill(pid, syscall.SIGKILL)
					}
				}
			})
		}
	}
}

var errGone = errors.New("gone")

// firstWrite tells of the first write.
type firstWrite struct {
	seen chan struct{}
	done bool
}

func (f *firstWrite) Write(p []byte) (int, error) {
	if !f.done {
		f.done = true
		close(f.seen)
	}
	return len(p), nil
}

// processes lists the shims, with any command, of the bundle that has this root file system.
func processes(t *testing.T, rootfs string) map[int]string {
	t.Helper()
	found := map[int]string{}
	names, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		line, err := os.ReadFile(n)
		if err != nil || !strings.Contains(string(line), filepath.Dir(rootfs)+"\x00") {
			continue
		}
		var pid int
		for _, digit := range filepath.Base(filepath.Dir(n)) {
			pid = pid*10 + int(digit-'0')
		}
		found[pid] = string(line)
	}
	return found
}

// TestExecOutlivesNoDaemon starts the command as the daemon does and then lets go of the pipe, as a kill -9 would.
func TestExecOutlivesNoDaemon(t *testing.T) {
	dir := newBundle(t, enginetest.C(t, "multi.c"), nil)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := command(t, "exec", "--bundle", dir, "--", "x", "spin")
	cmd.ExtraFiles = []*os.File{r}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = r.Close()
	if _, err := io.ReadFull(out, make([]byte, 3)); err != nil {
		_ = cmd.Wait()
		t.Fatalf("%v: %s", err, stderr.String())
	}
	_ = w.Close()
	_ = cmd.Wait() // killed
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
		t.Errorf("ended by %v", cmd.ProcessState)
	}
}

func TestExecRefuses(t *testing.T) {
	dir := newBundle(t, enginetest.C(t, "multi.c"), nil)
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"exec", "--bundle", dir}, "wazlet-shim exec: no command"},
		{[]string{"exec", "--", "x"}, "wazlet-shim exec: --bundle is required"},
		{[]string{"exec", "--bundle", dir, "--", "x"}, "wazlet-shim exec: fd 3: want the pipe of the daemon that runs this"},
	} {
		out, err := command(t, tt.args...).CombinedOutput()
		if err == nil || strings.TrimSpace(string(out)) != tt.want {
			t.Errorf("%q: %v, %s", tt.args, err, out)
		}
	}
}

// hangUp is the end of a client's input.
const hangUp = "hang up"

// TestExecTerminal types into a terminal, as a person at kubectl exec -it.
func TestExecTerminal(t *testing.T) {
	c := newContainer(t, enginetest.C(t, "multi.c"), nil, nil)
	for _, tt := range []struct {
		name  string
		input []string // each is typed once the text after it was seen
		code  int
		want  string
	}{
		{
			"lines, editing and ^D",
			[]string{"hellp\x7fo\n", "got hello", "\x04", ""},
			0, "ready\r\nhellp\b \bo\r\ngot hello\r\nheard hello\r\nend of input\r\n",
		},
		{"^C", []string{"\x03", ""}, 130, "ready\r\n"},
		{"the client's end of input", []string{"half", "half", hangUp, ""}, 0, "ready\r\nhalfgot halfheard halfend of input\r\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c.t = t
			in, keyboard := io.Pipe()
			screen := &screen{grown: make(chan struct{}, 1)}
			sizes := make(chan pty.Size, 1)
			sizes <- pty.Size{Columns: 80, Rows: 25}
			go func() {
				screen.await("ready\r\n")
				for i := 0; i < len(tt.input); i += 2 {
					if tt.input[i] == hangUp {
						_ = keyboard.Close()
						return
					}
					_, _ = io.WriteString(keyboard, tt.input[i])
					screen.await(tt.input[i+1])
				}
			}()
			code, err := c.Exec(c.deadline(), c.id, bundle.ExecOptions{
				Args: []string{"x", "lines"}, Stdin: in, Stdout: screen, TTY: true, Resize: sizes,
			})
			_ = in.Close()
			// The kernel may drop the echo of ^C, with all else that waits to be shown.
			if diff := cmp.Diff(tt.want, strings.TrimSuffix(screen.String(), "^C")); err != nil || code != tt.code || diff != "" {
				t.Errorf("exit code %d, %v; screen (-want +got):\n%s", code, err, diff)
			}
		})
	}
}
