package moduleactor

import (
	"fmt"
	"slices"
)

//go:generate go tool -modfile=../.ci/tools.mod stringer -type=state -trimprefix=state

// state is where an attempt stands. See the diagram in doc.go.
type state uint8

const (
	stateCreated state = iota + 1
	statePulling
	statePreparing
	stateStarting
	stateRunning
	stateExited
)

// edges is the table of permitted transitions.
func edges(from state) []state {
	switch from {
	case stateCreated:
		return []state{statePulling, stateStarting}
	case statePulling:
		return []state{statePreparing, stateExited}
	case statePreparing:
		return []state{stateStarting, stateExited}
	case stateStarting:
		return []state{stateRunning, stateExited}
	case stateRunning:
		return []state{stateExited}
	case stateExited:
		return nil
	}
	return nil
}

// mustReach panics when the table has no edge. That is a bug of ours: the guard turns it into a Crash, which the
// supervisor answers and the registry shows.
func mustReach(from, to state) {
	if !slices.Contains(edges(from), to) {
		panic(fmt.Sprintf("moduleactor: no transition %s -> %s", from, to))
	}
}
