package bundle

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	exitKilled     = 128 + int32(syscall.SIGKILL)
	exitTerminated = 128 + int32(syscall.SIGTERM)
	exitStartError = 128
	// maxMessage bounds Exit.Message, as Kubernetes bounds a termination message.
	maxMessage = 4096
)

// death is what is known of a dead shim beyond its files.
type death struct {
	// state is nil unless the shim was this process's child.
	state *os.ProcessState
	usage Usage
	at    time.Time
	// why is what the message says if nothing else does.
	why string
}

// settle returns how the attempt in dir ended. Where the shim did not live to write that, it is made up from what is
// known and written for good. The caller holds the attempt's lock, so there is no shim and will be none. With an error
// the Exit is valid but could not be kept.
func settle(dir string, d death) (Exit, error) {
	e, err := ReadExit(dir)
	if err == nil {
		d.fill(&e)
		return e, nil
	}
	e = d.synthesize(dir)
	if !errors.Is(err, fs.ErrNotExist) {
		e.Message = clip(err.Error())
	}
	return e, WriteExit(dir, e)
}

// fill adds what the shim could not know or did not say.
func (d death) fill(e *Exit) {
	if e.PeakMemoryBytes == 0 {
		e.PeakMemoryBytes = d.usage.PeakMemoryBytes
	}
	if e.CPUTimeNanos == 0 && d.state != nil {
		e.CPUTimeNanos = int64(d.state.UserTime() + d.state.SystemTime())
	}
	if e.CPUTimeNanos == 0 {
		e.CPUTimeNanos = int64(d.usage.CPUTime)
	}
}

func (d death) synthesize(dir string) Exit {
	st, err := ReadState(dir)
	entered := err == nil
	// Nobody saw an orphan die; when it was found dead is the best there is.
	e := Exit{Code: exitKilled, Reason: Killed, Message: d.why, StartedAt: st.StartedAt, FinishedAt: d.at}
	d.fill(&e)
	switch ws, ok := d.waitStatus(); {
	case d.usage.OOMKills > 0:
		e.Reason = OOMKilled
	case !ok || ws.Signaled() && ws.Signal() == syscall.SIGKILL:
	case ws.Signaled() && ws.Signal() == syscall.SIGTERM:
		e.Code = exitTerminated
	default:
		d.crash(&e, ws, dir, entered)
	}
	return e
}

// crash describes a shim that ended by its own fault: it exits only after it has written exit.json.
func (d death) crash(e *Exit, ws syscall.WaitStatus, dir string, entered bool) {
	e.Reason, e.Code = Error, exitKilled
	what := fmt.Sprintf("exited with code %d", ws.ExitStatus())
	if ws.Signaled() {
		what = "died from signal " + ws.Signal().String()
		e.Code = 128 + int32(ws.Signal())
	} else if ws.ExitStatus() != 0 {
		e.Code = int32(ws.ExitStatus())
	}
	if !entered {
		e.Reason, e.Code = StartError, exitStartError
	}
	e.Message = clip(strings.TrimSpace("shim " + what + "\n" + tailOf(filepath.Join(dir, ShimLogFile), maxMessage/2)))
}

func (d death) waitStatus() (syscall.WaitStatus, bool) {
	if d.state == nil {
		return 0, false
	}
	ws, ok := d.state.Sys().(syscall.WaitStatus)
	return ws, ok
}

// tailOf returns the last bytes of a file, as UTF-8; empty when it cannot be read.
func tailOf(path string, n int64) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	if st, err := f.Stat(); err == nil && st.Size() > n {
		if _, err := f.Seek(-n, io.SeekEnd); err != nil {
			return ""
		}
	}
	b, err := io.ReadAll(io.LimitReader(f, n))
	if err != nil {
		return ""
	}
	return strings.ToValidUTF8(string(b), "\uFFFD")
}

func clip(s string) string {
	if len(s) <= maxMessage {
		return s
	}
	return strings.ToValidUTF8(s[:maxMessage], "")
}
