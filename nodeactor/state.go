package nodeactor

import (
	"fmt"
	"slices"
)

//go:generate go tool -modfile=../.ci/tools.mod stringer -type=state -trimprefix=state
//go:generate go tool -modfile=../.ci/tools.mod stringer -type=stage -trimprefix=stage

// state is where the node stands. See the diagram in doc.go.
type state uint8

const (
	stateStarting state = iota + 1
	stateSyncing
	stateRunning
	stateDraining
	stateStopped
)

// edges is the table of permitted transitions of the node.
func edges(from state) []state {
	switch from {
	case stateStarting:
		return []state{stateSyncing}
	case stateSyncing:
		return []state{stateRunning, stateDraining}
	case stateRunning:
		return []state{stateDraining}
	case stateDraining:
		return []state{stateStopped}
	case stateStopped:
		return nil
	}
	return nil
}

// stage is where a Pod stands, as its node sees it; what goes on inside is the pod actor's business.
type stage uint8

const (
	// stageWaiting has no actor because another Pod still has its name.
	stageWaiting stage = iota + 1
	// stageLive has an actor.
	stageLive
	// stageBackOff has an actor that crashed and is suspended.
	stageBackOff
	// stageLeaving has left nothing behind; its actor is being stopped.
	stageLeaving
	// stageFailing was given up: its actor is being stopped, then its guests are ended.
	stageFailing
	// stageFailed was given up and has neither actor nor guests, only a status.
	stageFailed
	// stageClearing has no actor; what it left on disk is being removed.
	stageClearing
)

// podEdges is the table of permitted transitions of a Pod. A Pod that is new or gone is in no stage.
func podEdges(from stage) []stage {
	switch from {
	case 0:
		return []stage{stageWaiting, stageLive, stageClearing}
	case stageWaiting:
		return []stage{stageLive}
	case stageLive:
		return []stage{stageBackOff, stageLeaving, stageFailing}
	case stageBackOff:
		return []stage{stageLive}
	case stageFailing:
		return []stage{stageFailed, stageClearing}
	case stageFailed:
		return []stage{stageClearing}
	case stageLeaving, stageClearing:
		return nil
	}
	return nil
}

// mustReach panics when the table has no edge: a bug of ours, which the supervisor answers.
func mustReach[T comparable](table []T, from, to T) {
	if !slices.Contains(table, to) {
		panic(fmt.Sprintf("nodeactor: no transition %v -> %v", from, to))
	}
}
