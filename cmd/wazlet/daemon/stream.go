package daemon

import (
	"context"
	"errors"
	"fmt"

	utilexec "k8s.io/utils/exec"

	"github.com/wazlet/wazlet/kube/server"
	"github.com/wazlet/wazlet/moduleactor/bundle"
	"github.com/wazlet/wazlet/moduleactor/bundle/pty"
)

// exec runs a command in a container. It ends with the container, with the client and with the daemon.
func (d *daemon) exec(ctx context.Context, r server.ExecRequest) error {
	sizes, stop := sizesOf(ctx, r.Resize)
	defer stop()
	id := bundle.ID{PodUID: string(r.Pod.UID), Container: r.Container, Attempt: r.Attempt}
	code := 0
	err := d.counted.operations.measure(opExec, func() (err error) {
		code, err = d.runtime.Exec(ctx, id, bundle.ExecOptions{
			Args: r.Command, Stdin: r.Stdin, Stdout: r.Stdout, Stderr: r.Stderr, TTY: r.TTY, Resize: sizes,
		})
		return err
	})
	switch {
	case errors.Is(err, bundle.ErrNotRunning):
		return fmt.Errorf("container %q in pod %q is not running", r.Container, r.Pod.Name)
	case err != nil:
		return fmt.Errorf("exec in container %q: %w", r.Container, err)
	case code != 0:
		return utilexec.CodeExitError{Err: fmt.Errorf("command terminated with exit code %d", code), Code: code}
	}
	return nil
}

// attach gives a client the streams of a container's guest, until either is gone.
func (d *daemon) attach(ctx context.Context, r server.AttachRequest) error {
	sizes, stop := sizesOf(ctx, r.Resize)
	defer stop()
	id := bundle.ID{PodUID: string(r.Pod.UID), Container: r.Container, Attempt: r.Attempt}
	err := d.counted.operations.measure(opAttach, func() error {
		return d.runtime.Attach(ctx, id, bundle.AttachOptions{Stdin: r.Stdin, Stdout: r.Stdout, Stderr: r.Stderr, Resize: sizes})
	})
	switch {
	case errors.Is(err, bundle.ErrNotRunning):
		return fmt.Errorf("container %q in pod %q is not running", r.Container, r.Pod.Name)
	case err != nil:
		return fmt.Errorf("attach to container %q: %w", r.Container, err)
	}
	return nil
}

// sizesOf translates the sizes of a client's terminal until stop is called; nil for nil.
func sizesOf(ctx context.Context, from <-chan server.TerminalSize) (sizes <-chan pty.Size, stop func()) {
	if from == nil {
		return nil, func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	to := make(chan pty.Size)
	go func() {
		defer close(to)
		for {
			select {
			case s, ok := <-from:
				if !ok {
					return
				}
				select {
				case to <- pty.Size{Columns: s.Width, Rows: s.Height}:
				case <-ctx.Done():
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	return to, cancel
}
