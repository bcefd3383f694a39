package bundle

import (
	"bytes"
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

// parseStartTicks reads a stat file: "PID (COMM) STATE PPID ...". COMM is whatever the process calls itself, spaces and
// parentheses included, but nothing after it has a parenthesis.
func parseStartTicks(stat []byte) (uint64, error) {
	const field, afterComm = 22, 3 // counted from 1
	end := bytes.LastIndexByte(stat, ')')
	if end < 0 {
		return 0, fmt.Errorf("want a name in parentheses (got %.80q)", stat)
	}
	fields := bytes.Fields(stat[end+1:])
	if len(fields) <= field-afterComm {
		return 0, fmt.Errorf("want %d fields or more (got %d)", field, len(fields)+afterComm-1)
	}
	ticks, err := strconv.ParseUint(string(fields[field-afterComm]), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("field %d: want clock ticks (got %.80q)", field, fields[field-afterComm])
	}
	return ticks, nil
}
