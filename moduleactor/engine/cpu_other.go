//go:build !linux

package engine

import "time"

var processStart = time.Now() //nolint:gochecknoglobals // an epoch

// threadCPU is the time that passed: without a clock of the thread a guest that runs is taken to have a CPU.
func threadCPU() (thread int, used time.Duration) { return 0, time.Since(processStart) }
