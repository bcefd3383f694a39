package bundle

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// joinCgroups moves a process with all its threads.
func joinCgroups(dirs []string, pid int) error {
	for _, d := range dirs {
		f, err := os.OpenFile(filepath.Join(d, "cgroup.procs"), os.O_WRONLY, 0)
		if err != nil {
			return fmt.Errorf("join cgroup: %w", err)
		}
		_, err = f.WriteString(strconv.Itoa(pid))
		if err = errors.Join(err, f.Close()); err != nil {
			return fmt.Errorf("join cgroup: %w", err)
		}
	}
	return nil
}

// isIn tells from a process's /proc/PID/cgroup, lines "ID:CONTROLLERS:PATH", whether it is in all of the cgroups, which have
// one path below their mounts. False if that cannot be told.
func isIn(lines string, dirs []string) bool {
	in := 0
	for line := range strings.Lines(lines) {
		parts := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(parts) == 3 && len(parts[2]) > 1 && len(dirs) > 0 && strings.HasSuffix(dirs[0], parts[2]) {
			in++
		}
	}
	return in >= len(dirs)
}
