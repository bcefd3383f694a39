// Package background starts and stops the process that serves a control plane. All that there is of one is in its
// directory; the lock in it says if a process serves it.
//
//	up                                   serve, the child
//	lock DIR, make the namespace
//	start the child    -- lock (fd 3) -->  holds it until it ends
//	wait               <-- pipe (fd 4) --  "ready"; or the end of the pipe: it failed
package background

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Cluster is a control plane in the background.
type Cluster struct {
	// Dir holds everything: keys, data of etcd, kubeconfigs, log.
	Dir string
	// Netns is the network namespace it runs in; empty: that of the last time or else the caller's.
	Netns string
	// Local are the networks that are local in the namespace.
	Local []string
	// Args are arguments of serve besides those Up knows itself.
	Args []string
}

const (
	// patience is how long a start may take on a busy machine, and a stop.
	patience = 3 * time.Minute
	// killAfter is how long a process may take to end by itself.
	killAfter = 30 * time.Second
	// beat is how often an end is looked for.
	beat = 20 * time.Millisecond
)

// Up starts the control plane and waits until it is ready. One that runs already is left alone, with an error.
func (c Cluster) Up(ctx context.Context) error {
	if err := c.claim(); err != nil {
		return err
	}
	lock, err := Acquire(c.Dir)
	if err != nil {
		return err
	}
	defer lock.Close()
	if c.Netns, err = c.namespace(ctx, lock); err != nil {
		return err
	}
	log, err := os.OpenFile(filepath.Join(c.Dir, "log"), os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	before, err := log.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	ready, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer ready.Close()
	cmd, err := c.start(lock, log, w)
	_ = w.Close()
	if err != nil {
		return err
	}
	if err := awaitReady(ctx, ready); err != nil {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		return fmt.Errorf("%w%s", errors.Join(err, cmd.Wait()), tail(log, before))
	}
	return cmd.Process.Release()
}

// claim makes the directory. One with other people's files is refused: down --purge would remove them.
func (c Cluster) claim() error {
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return err
	}
	if _, err := os.Stat(lockPath(c.Dir)); err == nil {
		return nil
	}
	entries, err := os.ReadDir(c.Dir)
	if err != nil {
		return err
	}
	if len(entries) > 0 {
		return fmt.Errorf("%s is not empty and holds no control plane: found %s", c.Dir, entries[0].Name())
	}
	return nil
}

// namespace sees to the network namespace. That it is ours is recorded before it is made, so that down finds it even
// after a crash in between.
func (c Cluster) namespace(ctx context.Context, lock *Lock) (string, error) {
	r, err := lock.read()
	if err != nil {
		return "", err
	}
	switch {
	case c.Netns == "":
		c.Netns = r.Netns
	case r.Netns != "" && r.Netns != c.Netns:
		return "", fmt.Errorf("the control plane in %s has the network namespace %s, not %s", c.Dir, r.Netns, c.Netns)
	case r.Netns == "" && netnsExists(c.Netns):
		return "", fmt.Errorf("the network namespace %s exists already and belongs to something else", c.Netns)
	}
	if err := lock.write(record{Netns: c.Netns}); err != nil || c.Netns == "" {
		return "", err
	}
	return c.Netns, makeNetns(ctx, c.Netns, c.Local)
}

// start runs serve in a session of its own, with the lock as file descriptor 3 and the pipe as 4.
func (c Cluster) start(lock *Lock, log, ready *os.File) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	args := append([]string{self, "serve", "--dir", c.Dir, "--background"}, c.Args...)
	if c.Netns != "" {
		args = append([]string{"ip", "netns", "exec", c.Netns}, append(args, "--direct")...)
	}
	cmd := exec.Command(args[0], args[1:]...) //nolint:noctx // it outlives us
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = []*os.File{lock.file, ready}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the control plane: %w", err)
	}
	return cmd, nil
}

// Inherit is for the process that Up started: it takes the lock over and returns what tells Up that all is ready.
func Inherit() (*Lock, func() error) {
	for _, fd := range []int{3, 4} {
		syscall.CloseOnExec(fd)
	}
	lock, pipe := &Lock{file: os.NewFile(3, "lock")}, os.NewFile(4, "ready")
	return lock, func() error {
		_, err := io.WriteString(pipe, readyWord)
		return errors.Join(err, pipe.Close())
	}
}

const readyWord = "ready"

func awaitReady(ctx context.Context, pipe *os.File) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	defer context.AfterFunc(ctx, func() { _ = pipe.SetReadDeadline(time.Unix(1, 0)) })()
	said, _ := io.ReadAll(pipe) // what ended it is asked below
	switch {
	case string(said) == readyWord:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("the control plane is not ready: %w", ctx.Err())
	default:
		return errors.New("the control plane ended before it was ready")
	}
}

// tail returns the end of what a process has logged since the offset.
func tail(log *os.File, since int64) string {
	const most = 4000
	end, err := log.Seek(0, io.SeekEnd)
	if err != nil || end <= since {
		return ""
	}
	since = max(since, end-most)
	text, _ := io.ReadAll(io.NewSectionReader(log, since, end-since))
	return "; the end of its log:\n" + strings.TrimSpace(string(text))
}

// Status returns the network namespace of a control plane that runs, or an error.
func (c Cluster) Status() (netns string, err error) {
	r, running, err := look(c.Dir)
	if err != nil {
		return "", err
	}
	if !running || r.PID == 0 {
		return "", fmt.Errorf("the control plane in %s does not run", c.Dir)
	}
	return r.Netns, nil
}

// Down stops the control plane. With purge it removes all there is of it: the network namespace and the directory.
// Without, both wait for the next Up.
func (c Cluster) Down(ctx context.Context, purge bool) error {
	if _, _, err := look(c.Dir); err != nil {
		return err
	}
	lock, err := c.end(ctx)
	if err != nil {
		return err
	}
	defer lock.Close()
	r, err := lock.read()
	if err != nil {
		return err
	}
	if !purge {
		return lock.write(record{Netns: r.Netns})
	}
	if err := deleteNetns(ctx, r.Netns); err != nil {
		return err
	}
	return os.RemoveAll(c.Dir)
}

// end ends the process that serves, if there is one, and returns the lock.
func (c Cluster) end(ctx context.Context) (*Lock, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	kill := time.NewTimer(killAfter)
	defer kill.Stop()
	tick := time.NewTicker(beat)
	defer tick.Stop()
	asked := 0
	for {
		lock, err := Acquire(c.Dir)
		if !errors.Is(err, errHeld) {
			return lock, err
		}
		// A process in the middle of its start has no number yet: it is asked at the next beat.
		if r, held, err := look(c.Dir); err == nil && held && r.PID != 0 && r.PID != asked {
			asked = r.PID
			c.signal(asked, syscall.SIGTERM)
		}
		select {
		case <-tick.C:
		case <-kill.C:
			c.signal(asked, syscall.SIGKILL)
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", err, ctx.Err())
		}
	}
}

// signal sends to the process only while it is surely ours: the handle is taken first and then the lock looked at, so
// that the number cannot have gone to another process in between.
func (c Cluster) signal(pid int, s os.Signal) {
	if pid == 0 {
		return
	}
	p, err := os.FindProcess(pid)
	if err != nil {
		return
	}
	defer func() { _ = p.Release() }()
	if r, held, err := look(c.Dir); err == nil && held && r.PID == pid {
		_ = p.Signal(s) // it may have ended by itself, which the lock tells
	}
}
