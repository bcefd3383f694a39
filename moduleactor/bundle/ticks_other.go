//go:build !linux

package bundle

// StartTicks is 0: only Linux has it, and only a node asks whose pid it is. A shim in the foreground runs without.
func StartTicks(int) (uint64, error) { return 0, nil }
