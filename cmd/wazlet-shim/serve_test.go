package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wazlet/wazlet/moduleactor/bundle"
	"github.com/wazlet/wazlet/moduleactor/engine"
	"github.com/wazlet/wazlet/moduleactor/engine/enginetest"
)

// daemon is a runtime as a daemon has it, with a root directory that outlives it.
type daemon struct {
	*bundle.Runtime

	t       *testing.T
	root    string
	warned  chan error
	refused chan string // what was refused to guests, by container
	beat    time.Duration
	change  func(*bundle.Config) // may be nil
	modules map[string]string    // files by digest
}

func newDaemon(t *testing.T) *daemon {
	t.Helper()
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	d := &daemon{t: t, root: root, warned: make(chan error, 100), refused: make(chan string, 100), modules: map[string]string{}}
	d.open()
	t.Cleanup(func() {
		_ = d.Close()
		d.killShim(syscall.SIGKILL)
	})
	return d
}

// open is the start of a daemon.
func (d *daemon) open() {
	d.t.Helper()
	cfg := bundle.Config{
		Root: d.root, Shim: binary, CacheDir: filepath.Join(d.root, "cache"), LogsDir: filepath.Join(d.root, "log"), Heartbeat: d.beat,
		Refused: func(s bundle.Spec, text string) { d.refused <- s.Container + ": " + text },
		Warn: func(err error) {
			select {
			case d.warned <- err:
			default:
			}
		},
	}
	if d.change != nil {
		d.change(&cfg)
	}
	var err error
	if d.Runtime, err = bundle.New(cfg); err != nil {
		d.t.Fatal(err)
	}
}

// reopen is a restart of the daemon, with another configuration from now on.
func (d *daemon) reopen(change func(*bundle.Config)) {
	d.t.Helper()
	if err := d.Close(); err != nil {
		d.t.Fatal(err)
	}
	d.change = change
	d.open()
}

// shimDir is the directory of the one shared shim of the node.
func (d *daemon) shimDir() string {
	d.t.Helper()
	found, err := filepath.Glob(filepath.Join(d.root, "shims", "node*"))
	if err != nil || len(found) > 1 {
		d.t.Fatalf("shared shims of the node: %v, %v; want one", found, err)
	}
	return strings.Join(found, "")
}

// shimPID is the process of the shared shim, 0 if there was none.
func (d *daemon) shimPID() int {
	b, err := os.ReadFile(filepath.Join(d.shimDir(), bundle.PIDFile))
	if err != nil {
		return 0
	}
	pid, _, _ := strings.Cut(string(b), " ")
	n, err := strconv.Atoi(pid)
	if err != nil {
		d.t.Fatal(err)
	}
	return n
}

func (d *daemon) killShim(sig syscall.Signal) {
	if pid := d.shimPID(); pid > 0 {
		_ = syscall.Kill(pid, sig)
		if d.t.Failed() {
			text, _ := os.ReadFile(filepath.Join(d.shimDir(), bundle.ShimLogFile))
			d.t.Logf("the shared shim says: %s", text)
		}
	}
}

// spec is an attempt of container name; change may change it.
func (d *daemon) spec(name string, attempt int, code []byte, change func(*bundle.Spec)) bundle.Spec {
	d.t.Helper()
	digest := engine.Digest(code)
	file, ok := d.modules[digest]
	if !ok {
		file = filepath.Join(d.root, "images", strings.TrimPrefix(digest, "sha256:")+".wasm")
		err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, code, 0o600), d.Compile(patient(d.t), file, digest, true))
		if err != nil {
			d.t.Fatal(err)
		}
		d.modules[digest] = file
	}
	s := bundle.Spec{
		Version: bundle.SpecVersion, PodUID: "11111111-2222-3333-4444-555555555555", Namespace: "default", Pod: "pod", Container: name, Attempt: attempt,
		ContainerID: bundle.NewContainerID(), ImageID: "image", Module: file, ModuleDigest: digest,
		CacheDir: filepath.Join(d.root, "cache"), Args: []string{"guest"}, Landlock: true, Shim: bundle.SharedShim(""),
		Log:                    &bundle.Log{Path: filepath.Join(d.root, "log", name, strconv.Itoa(attempt)+".log"), MaxBytes: 1 << 20, MaxFiles: 3},
		TerminationMessagePath: "/dev/termination-log",
	}
	dir, err := bundle.Dir(d.root, s.ID())
	if err != nil {
		d.t.Fatal(err)
	}
	s.Rootfs = filepath.Join(dir, bundle.RootfsDir)
	if change != nil {
		change(&s)
	}
	if err := os.MkdirAll(s.Rootfs, 0o755); err != nil {
		d.t.Fatal(err)
	}
	return s
}

func (d *daemon) start(spec bundle.Spec, limits bundle.Limits) *bundle.Process {
	d.t.Helper()
	p, err := d.Start(patient(d.t), spec, limits)
	if err != nil {
		d.t.Fatal(err)
	}
	return p
}

// running starts an attempt and waits until the guest runs.
func (d *daemon) running(spec bundle.Spec) *bundle.Process {
	d.t.Helper()
	p := d.start(spec, bundle.Limits{})
	d.entered(p)
	return p
}

func (d *daemon) entered(p *bundle.Process) bundle.State {
	d.t.Helper()
	st, ok, err := p.Started(patient(d.t))
	if err != nil || !ok {
		exit, werr := p.Wait(patient(d.t))
		d.t.Fatalf("not started: %v; %+v, %v", err, exit, werr)
	}
	return st
}

func (d *daemon) ended(p *bundle.Process) bundle.Exit {
	d.t.Helper()
	e, err := p.Wait(patient(d.t))
	if err != nil {
		d.t.Fatal(err)
	}
	return e
}

func (d *daemon) log(s bundle.Spec) string {
	b, err := os.ReadFile(s.Log.Path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		d.t.Fatal(err)
	}
	return string(b)
}

// logs waits until the guest's log has the text.
func (d *daemon) logs(s bundle.Spec, text string) {
	d.t.Helper()
	eventually(d.t, text, func() bool { return strings.Contains(d.log(s), text) })
}

func patient(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// outcome is what is left of an attempt.
type outcome struct {
	Code           int32
	Reason         bundle.ExitReason
	Message        string
	Log            string
	Termination    string
	Entered, Peak  bool
	HasTimes, File bool
}

var (
	timestamp = regexp.MustCompile(`(?m)^\S+ `)
	// frame is a function of a module without names by its index, which instrumentation moves.
	frame = regexp.MustCompile(`\$\d+`)
	// depth is how deeply calls can be nested, which in a process is up to wazero.
	depth = regexp.MustCompile(`too deeply \([^)]*\)`)
)

func (d *daemon) outcome(s bundle.Spec, e bundle.Exit) outcome {
	d.t.Helper()
	dir := filepath.Dir(s.Rootfs)
	kept, err := bundle.ReadExit(dir)
	if err != nil {
		d.t.Error(err)
	}
	message, err := os.ReadFile(filepath.Join(dir, bundle.TerminationLog))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		d.t.Error(err)
	}
	lines := slices.Collect(strings.Lines(timestamp.ReplaceAllString(d.log(s), "")))
	slices.Sort(lines) // of two streams
	return outcome{
		Code: e.Code, Reason: e.Reason, Message: depth.ReplaceAllString(frame.ReplaceAllString(strings.ReplaceAll(e.Message, d.root, "ROOT"), "$$N"), "too deeply"),
		// Of the line that idle.c does not finish nobody can tell whether it was begun when the signal came.
		Log: strings.ReplaceAll(strings.Join(lines, ""), "stdout F unfinished\n", ""), Termination: string(message),
		Entered: !e.StartedAt.IsZero(), Peak: e.PeakMemoryBytes > 0,
		HasTimes: !e.FinishedAt.IsZero(), File: kept.Code == e.Code && kept.Reason == e.Reason && kept.Message == e.Message,
	}
}

// TestBothIsolations runs one table of guests in both isolations. Whoever looks at what is left of an attempt cannot tell
// which it was.
func TestBothIsolations(t *testing.T) {
	hello, faulty, idle := enginetest.C(t, "hello.c"), enginetest.C(t, "faults.c"), enginetest.C(t, "idle.c")
	how := func(args ...string) func(*bundle.Spec) {
		return func(s *bundle.Spec) { s.Args = append([]string{"faults"}, args...) }
	}
	tests := []struct {
		name   string
		code   []byte
		change func(*bundle.Spec)
		// end is what is done to one that runs.
		end  func(*bundle.Process) error
		want outcome // only what is given is compared to it
	}{
		{"completes", hello, nil, nil, outcome{Reason: bundle.Completed}},
		{"arguments and environment", hello, func(s *bundle.Spec) { s.Args, s.Env = []string{"a", "b"}, []string{"X=1", "CODE=7"} }, nil, outcome{Code: 7, Reason: bundle.Error}},
		{"exit(-1)", faulty, how("exit", "-1"), nil, outcome{Code: 255, Reason: bundle.Error}},
		{"traps", faulty, how("trap"), nil, outcome{Code: 134, Reason: bundle.Trap}},
		{"divides by zero", faulty, how("divide"), nil, outcome{Code: 134, Reason: bundle.Trap}},
		{"out of bounds", faulty, how("bounds"), nil, outcome{Code: 134, Reason: bundle.Trap}},
		{"out of memory", faulty, func(s *bundle.Spec) { how("hoard-exit")(s); s.MemoryBytes = 16 << 20 }, nil, outcome{Code: 42, Reason: bundle.OOMKilled}},
		{"traps out of memory", faulty, func(s *bundle.Spec) { how("hoard-trap")(s); s.MemoryBytes = 16 << 20 }, nil, outcome{Code: 137, Reason: bundle.OOMKilled}},
		{"endless recursion", enginetest.Command(1, nil, 0x10, 0), nil, nil, outcome{Code: 134, Reason: bundle.Trap}},
		{"SIGTERM", idle, nil, func(p *bundle.Process) error { return p.Signal(false) }, outcome{Code: 143, Reason: bundle.Killed}},
		{"SIGKILL", idle, nil, func(p *bundle.Process) error { return p.Signal(true) }, outcome{Code: 137, Reason: bundle.Killed}},
		{"no module", hello, func(s *bundle.Spec) { s.Module += "-not" }, nil, outcome{Code: 128, Reason: bundle.StartError}},
		{"another module", hello, func(s *bundle.Spec) { s.ModuleDigest = "sha256:" + strings.Repeat("0", 64) }, nil, outcome{Code: 128, Reason: bundle.StartError}},
		{"too little memory", hello, func(s *bundle.Spec) { s.MemoryBytes = 1000 }, nil, outcome{Code: 128, Reason: bundle.StartError}},
		{"no volume", hello, func(s *bundle.Spec) { s.Mounts = []bundle.Mount{{Host: s.Rootfs + "/not", Guest: "/data"}} }, nil, outcome{Code: 128, Reason: bundle.StartError}},
		{"a volume that is a link", hello, func(s *bundle.Spec) {
			s.Mounts = []bundle.Mount{{Host: s.Rootfs + "/link", Guest: "/data"}}
			if err := errors.Join(os.MkdirAll(s.Rootfs, 0o755), os.Symlink("..", s.Rootfs+"/link")); err != nil {
				panic(err)
			}
		}, nil, outcome{Code: 128, Reason: bundle.StartError}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := map[string]outcome{}
			for isolation, shim := range map[string]string{"process": "", "shared": bundle.SharedShim("")} {
				d := newDaemon(t)
				spec := d.spec("main", 0, tt.code, tt.change)
				spec.Shim = shim
				p := d.start(spec, bundle.Limits{})
				if tt.end != nil {
					d.entered(p)
					d.logs(spec, "up")
					if err := tt.end(p); err != nil {
						t.Fatal(err)
					}
				}
				got[isolation] = d.outcome(spec, d.ended(p))
			}
			shared := got["shared"]
			if tt.name == "SIGKILL" { // a process has no time to finish its log, and nobody to ask about its memory
				shared.Log, shared.Peak = got["process"].Log, got["process"].Peak
			}
			if diff := cmp.Diff(got["process"], shared); diff != "" {
				t.Errorf("(-process +shared):\n%s", diff)
			}
			if shared.Code != tt.want.Code || shared.Reason != tt.want.Reason || !shared.File || !shared.HasTimes {
				t.Errorf("got %+v", shared)
			}
		})
	}
}

// withVolumes is an attempt whose guest tries its volumes, which are made in a directory.
func (d *daemon) withVolumes(volumes string) bundle.Spec {
	d.t.Helper()
	for _, p := range []string{"rw", "ro"} {
		if err := os.MkdirAll(filepath.Join(volumes, p), 0o755); err != nil {
			d.t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(volumes, "ro", "file"), []byte("from the host"), 0o600); err != nil {
		d.t.Fatal(err)
	}
	return d.spec("main", 0, enginetest.C(d.t, "files.c"), func(s *bundle.Spec) {
		s.Mounts = []bundle.Mount{
			{Host: filepath.Join(volumes, "rw"), Guest: "/rw"},
			{Host: filepath.Join(volumes, "ro"), Guest: "/ro", ReadOnly: true},
			{Host: filepath.Join(volumes, "ro", "file"), Guest: "/etc/app.conf", ReadOnly: true},
		}
	})
}

// TestSharedFiles: volumes, the termination message, the log and a file of another attempt's.
func TestSharedFiles(t *testing.T) {
	d := newDaemon(t)
	spec := d.withVolumes(filepath.Join(bundle.PodsDir(d.root), "11111111-2222-3333-4444-555555555555", ".volumes"))
	if e := d.ended(d.start(spec, bundle.Limits{})); e.Reason != bundle.Completed {
		t.Errorf("%+v\n%s", e, d.log(spec))
	}
	if got, err := os.ReadFile(filepath.Join(filepath.Dir(spec.Rootfs), bundle.TerminationLog)); string(got) != "the end" || err != nil {
		t.Errorf("termination message: %q, %v", got, err)
	}
}

// TestManyShared runs a thousand guests in one process, ends one, and then all.
func TestManyShared(t *testing.T) {
	const many = 1000
	d, code := newDaemon(t), enginetest.C(t, "idle.c")
	processes := make([]*bundle.Process, many)
	specs := make([]bundle.Spec, many)
	for i := range many {
		specs[i] = d.spec("c"+strconv.Itoa(i), 0, code, nil)
	}
	each(many, func(i int) {
		p, err := d.Start(patient(t), specs[i], bundle.Limits{})
		if err != nil {
			t.Error(err)
			return
		}
		processes[i] = p
	})
	if t.Failed() {
		t.FailNow()
	}
	pid := d.shimPID()
	for _, p := range processes {
		if st := d.entered(p); st.PID != pid || p.PID() != pid {
			t.Fatalf("runs in process %d, %d; want %d", st.PID, p.PID(), pid)
		}
	}
	if threads := len(entriesOf(t, fmt.Sprintf("/proc/%d/task", pid))); threads > 100 {
		t.Errorf("%d threads", threads)
	}
	for _, fd := range entriesOf(t, fmt.Sprintf("/proc/%d/fd", pid)) {
		if path, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", pid, fd.Name())); err == nil && filepath.Base(path) == bundle.RootfsDir {
			t.Fatalf("%s is open, of a guest that uses no files", path)
		}
	}
	if err := processes[7].Signal(false); err != nil {
		t.Fatal(err)
	}
	if e := d.ended(processes[7]); e.Code != 143 {
		t.Errorf("%+v", e)
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for i, p := range processes {
		if e := d.ended(p); e.Code != 143 || e.Reason != bundle.Killed || e.StartedAt.IsZero() {
			t.Fatalf("%d: %+v", i, e)
		}
	}
}

// each does something with all numbers below n, a few at a time.
func each(n int, do func(i int)) {
	var wg sync.WaitGroup
	next := make(chan int)
	for range 8 {
		wg.Go(func() {
			for i := range next {
				do(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
}

func entriesOf(t *testing.T, dir string) []os.DirEntry {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	return entries
}
