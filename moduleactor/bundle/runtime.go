package bundle

// ID names one attempt.
type ID struct {
	PodUID, Container string
	Attempt           int
}

// Limits are what the kernel enforces on a shim.
type Limits struct {
	// MemoryBytes and CPUMillicores are the container's limits; 0 is none.
	MemoryBytes, CPUMillicores int64
}

// InvalidModule is a module that can never be run here: the compiler refused it.
type InvalidModule struct{ Text string }

func (e *InvalidModule) Error() string { return e.Text }
