package bundle

import (
	"bytes"
	"fmt"
	"strconv"
)

// statField reads one numeric field, counted from 1, of a stat file: "PID (COMM) STATE PPID ...". COMM is whatever the
// process calls itself, spaces and parentheses included, but nothing after it has a parenthesis.
func statField(stat []byte, field int) (uint64, error) {
	const afterComm = 3
	end := bytes.LastIndexByte(stat, ')')
	if end < 0 {
		return 0, fmt.Errorf("want a name in parentheses (got %.80q)", stat)
	}
	fields := bytes.Fields(stat[end+1:])
	if len(fields) <= field-afterComm {
		return 0, fmt.Errorf("want %d fields or more (got %d)", field, len(fields)+afterComm-1)
	}
	n, err := strconv.ParseUint(string(fields[field-afterComm]), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("field %d: want a number (got %.80q)", field, fields[field-afterComm])
	}
	return n, nil
}
