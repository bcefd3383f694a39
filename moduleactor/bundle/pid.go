package bundle

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// procID is a process beyond reuse of its pid.
type procID struct {
	pid        int
	startTicks uint64
}

// writePID writes the pid file: "PID STARTTICKS". Daemon and shim both do, with the same content, so that there is no
// moment in which the one has died and the other has not written it yet. Who comes second leaves it as it is. Not synced:
// after a power cut there is no process that it could name.
func writePID(dir string, p procID) error {
	path, text := filepath.Join(dir, PIDFile), fmt.Appendf(nil, "%d %d\n", p.pid, p.startTicks)
	if data, err := readBounded(path); err == nil && bytes.Equal(data, text) {
		return nil
	}
	return replaceFile(path, text)
}

// readPID reads who runs the attempt, from the pid file or, should that be damaged, from state.json.
func readPID(dir string) (procID, error) {
	path := filepath.Join(dir, PIDFile)
	data, err := readBounded(path)
	if err == nil {
		p, perr := parsePID(data)
		if perr == nil {
			return p, nil
		}
		err = fmt.Errorf("%s: %w", path, perr)
	}
	if st, serr := ReadState(dir); serr == nil {
		return procID{pid: st.PID, startTicks: st.StartTicks}, nil
	}
	return procID{}, err
}

func parsePID(data []byte) (procID, error) {
	var p procID
	if len(data) > 64 {
		return p, fmt.Errorf("want PID and start ticks (got %d bytes)", len(data))
	}
	if _, err := fmt.Sscanf(string(data), "%d %d\n", &p.pid, &p.startTicks); err != nil || p.pid <= 0 {
		return procID{}, fmt.Errorf("want PID and start ticks (got %q)", data)
	}
	return p, nil
}

// openPidfd opens the process; unix.ESRCH when it is gone or its pid belongs to another by now.
func openPidfd(p procID) (*os.File, error) {
	fd, err := pidfdOpen(p.pid)
	if err != nil {
		return nil, os.NewSyscallError("pidfd_open", err)
	}
	f := os.NewFile(uintptr(fd), "pidfd")
	// Looked at after the open: the ticks are those of the process that the descriptor stands for, or it is dead.
	ticks, err := StartTicks(p.pid)
	if err != nil || ticks != p.startTicks {
		_ = f.Close()
		return nil, os.NewSyscallError("pidfd_open", unix.ESRCH)
	}
	return f, nil
}

// awaitDeath parks the goroutine in the netpoller until the process is dead. os.ErrClosed when the file was closed.
func awaitDeath(pidfd *os.File) error {
	c, err := pidfd.SyscallConn()
	if err != nil {
		return err
	}
	var perr error
	err = c.Read(func(fd uintptr) bool {
		var dead bool
		dead, perr = readable(int(fd))
		return dead || perr != nil
	})
	return errors.Join(err, perr)
}

func readable(fd int) (bool, error) {
	p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(p, 0)
		if !errors.Is(err, unix.EINTR) {
			return n > 0, err
		}
	}
}
