package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"slices"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/wazlet/wazlet/moduleactor/bundle"
	"github.com/wazlet/wazlet/moduleactor/bundle/wire"
	"github.com/wazlet/wazlet/moduleactor/logs"
)

const (
	// fileWorkers bounds what prepares and buries guests at a time: each waits for the disk, in a thread of its own.
	fileWorkers = 16
	// maxThreads is far above Go's 10,000, at which the process would end: guests that wait for the disk have a thread each.
	maxThreads = 100_000
	// serveGCPercent is between time and memory: most of the heap are the stacks of guests that sleep.
	serveGCPercent = 50
)

// serveCommand runs many attempts, which it gets from daemons, until SIGTERM.
func serveCommand(ctx context.Context, args []string, stderr io.Writer) int {
	var o serveOptions
	var err error
	o.host, err = parseFlags("serve", args, stderr, map[string]*string{"dir": &o.dir, "root": &o.root, "cache": &o.cache, "logs": &o.logs})
	if err != nil {
		fmt.Fprintln(stderr, "wazlet-shim serve:", err)
		return codeUsage
	}
	signal.Ignore(syscall.SIGINT, syscall.SIGHUP)
	terminated := watchTerminate()
	debug.SetGCPercent(serveGCPercent)
	debug.SetMaxThreads(maxThreads)
	unix.Umask(umask)
	raiseFiles()
	if err := serve(ctx, o, terminated, stderr); err != nil {
		fmt.Fprintln(stderr, "wazlet-shim serve:", err)
		return codeFailed
	}
	return 0
}

// serveOptions are the directories of a shared shim: its own, that of the node, those that may be elsewhere, and those of the
// host that guests may have volumes in.
type serveOptions struct {
	dir, root, cache, logs string
	host                   []string
}

// images is where the modules are.
func (o serveOptions) images() string { return filepath.Join(o.root, "images") }

// make makes the directories, since one that is not there cannot be allowed.
func (o serveOptions) make() error {
	return errors.Join(
		os.MkdirAll(o.cache, 0o700), os.MkdirAll(o.images(), 0o700), os.MkdirAll(bundle.PodsDir(o.root), 0o700),
		os.MkdirAll(o.logs, 0o755), //nolint:gosec // collectors read the logs
	)
}

// directories are those of the paths that are. One that is missing must not keep all guests from running.
func directories(paths []string, stderr io.Writer) []string {
	return slices.DeleteFunc(paths, func(path string) bool {
		info, err := os.Stat(path)
		if err == nil && !info.IsDir() {
			err = &os.PathError{Op: "open", Path: path, Err: syscall.ENOTDIR}
		}
		if err != nil {
			fmt.Fprintln(stderr, "wazlet-shim serve: no volumes of the host are possible there:", err)
		}
		return err != nil
	})
}

// serve serves until SIGTERM, which ends all guests.
func serve(ctx context.Context, o serveOptions, terminated <-chan os.Signal, stderr io.Writer) error {
	host, err := bundle.Serve(o.dir)
	if err != nil {
		return err
	}
	l, err := wire.NewListener(bundle.ListenFD)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	if err := o.make(); err != nil {
		return err
	}
	o.host = directories(o.host, stderr)
	if err := confineServe(o); err != nil {
		return err
	}
	s := newServer(ctx, host, stderr)
	go func() {
		<-terminated
		_ = l.Close()
	}()
	for {
		conn, err := l.Accept()
		if errors.Is(err, os.ErrClosed) {
			s.drain()
			return nil
		}
		if err != nil {
			return fmt.Errorf("accept: %w", err)
		}
		go s.attend(conn)
	}
}

// server runs the guests of a shared shim.
type server struct {
	ctx      context.Context //nolint:containedctx // that of the process, the parent of every guest's
	host     *bundle.Host
	stderr   io.Writer
	programs *programs
	// files has a token for each worker that may wait for the disk.
	files chan struct{}
	logs  *logs.Files

	mu sync.Mutex
	// instances are the attempts that run, by their directories.
	instances map[string]*instance
	draining  bool
	idle      sync.WaitGroup // instances
}

func newServer(ctx context.Context, host *bundle.Host, stderr io.Writer) *server {
	return &server{
		ctx: ctx, host: host, stderr: stderr, programs: newPrograms(), files: make(chan struct{}, fileWorkers),
		instances: map[string]*instance{}, logs: logs.NewFiles(openLogs()),
	}
}

// sharedFiles is how many files a shared shim wants to open: a hundred for each of ten thousand guests, which is what Linux
// lets a process have unless it is told otherwise.
const sharedFiles = 1 << 20

// raiseFiles lets this process open as many files as it wants, or at least as many as it may: more than it was started with
// takes CAP_SYS_RESOURCE.
func raiseFiles() {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil {
		return
	}
	for _, hard := range []uint64{max(limit.Max, sharedFiles), limit.Max} {
		if unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: hard, Max: hard}) == nil {
			return
		}
	}
}

// openLogs is how many logs may be open at a time: the descriptors are for the guests, each of which has one at least.
func openLogs() int {
	const least, most = 16, 4096
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return least
	}
	return int(min(max(limit.Cur/16, least), most))
}

// drain ends all guests and waits until their endings are recorded.
func (s *server) drain() {
	s.mu.Lock()
	s.draining = true
	for _, i := range s.instances {
		i.stop(false)
	}
	s.mu.Unlock()
	s.idle.Wait()
}

// disk does what may wait for the disk, when it is its turn.
func (s *server) disk(do func()) {
	s.files <- struct{}{}
	defer func() { <-s.files }()
	do()
}

var (
	errNotHere  = errors.New("no such attempt runs here")
	errHere     = errors.New("the attempt runs here already")
	errDraining = errors.New("it is ending, by SIGTERM")
)

// enter makes an attempt one that runs here.
func (s *server) enter(i *instance) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining {
		return errDraining
	}
	if s.instances[i.dir] != nil {
		return errHere
	}
	s.instances[i.dir] = i
	s.idle.Add(1)
	return nil
}

// leave is the end of that.
func (s *server) leave(i *instance) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.instances, i.dir)
	s.idle.Done()
}

func (s *server) find(dir string) (*instance, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := s.instances[dir]; i != nil {
		return i, nil
	}
	return nil, errNotHere
}

func (s *server) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.instances)
}
