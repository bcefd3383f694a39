package bundle

import (
	"fmt"
	"os"
	"strconv"
)

// StartTicks is field 22 of /proc/PID/stat: when the process started, in clock ticks since boot.
//
// Read by hand because every shim asks, and merely linking the procfs library costs each a quarter of a millisecond.
func StartTicks(pid int) (uint64, error) {
	path := "/proc/" + strconv.Itoa(pid) + "/stat"
	data, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	ticks, err := parseStartTicks(data)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	return ticks, nil
}

// parseStartTicks reads field 22 of a stat file.
func parseStartTicks(stat []byte) (uint64, error) { return statField(stat, 22) }
