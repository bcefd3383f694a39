package bundle

import "github.com/prometheus/procfs"

// StartTicks is field 22 of /proc/PID/stat: when the process started, in clock ticks since boot.
func StartTicks(pid int) (uint64, error) {
	p, err := procfs.NewProc(pid)
	if err != nil {
		return 0, err
	}
	st, err := p.Stat()
	if err != nil {
		return 0, err
	}
	return st.Starttime, nil
}
