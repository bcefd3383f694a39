package debug

import (
	"slices"
	"time"

	"github.com/wazlet/wazlet/actors"
)

const (
	rowsPerEvent = 500
	// busyShown is how long an actor must have been at one message for the page to say so; anything shorter flickers.
	busyShown = 500 * time.Millisecond
)

// delta is the data of an event "actors". A reset replaces all rows that the page has. UpTo is the number of the last
// event that the rows include: a transition up to it that comes later, because it was queued, says nothing new of a row.
type delta struct {
	Time     time.Time        `json:"time"`
	UpTo     uint64           `json:"upTo"`
	Reset    bool             `json:"reset,omitempty"`
	Actors   []row            `json:"actors,omitempty"`
	Removed  []string         `json:"removed,omitempty"`
	Counters *actors.Counters `json:"counters,omitempty"`
}

// row is an entry of /debug/actors and the Pod that it belongs to.
type row struct {
	actors.Info
	Pod actors.PodRef `json:"pod"`
}

// rows makes the deltas for one reader. It is not safe for concurrent use.
type rows struct {
	tree     Tree
	counters func() actors.Counters
	last     func() uint64          // number of the last event
	shown    map[string]actors.Info // nil: nothing was sent yet
	told     map[string]bool        // actors of which a transition was sent since
	counts   actors.Counters
}

// tell notes that the reader was told of a transition and may have changed the row on its own. The row is sent again, so that the
// reader ends up with what the registry says whatever became of the transitions before and after.
func (r *rows) tell(actor string) {
	if r.told == nil {
		r.told = map[string]bool{}
	}
	r.told[actor] = true
}

// next returns what changed since the last call, everything at the first; nil for nothing.
func (r *rows) next(now time.Time) []delta {
	upTo := r.last()
	list := r.tree.Snapshot()
	reset := r.shown == nil
	before := r.shown
	r.shown = make(map[string]actors.Info, len(list))
	var changed []row
	for _, info := range list {
		if info.Handling != nil && now.Sub(info.Handling.Since) < busyShown {
			info.Handling = nil
		}
		r.shown[info.ID] = info
		if old, known := before[info.ID]; !known || r.told[info.ID] || !looksSame(old, info) {
			changed = append(changed, row{info, info.Pod})
		}
	}
	var removed []string
	for id := range before {
		if _, there := r.shown[id]; !there {
			removed = append(removed, id)
		}
	}
	slices.Sort(removed)
	clear(r.told)
	deltas := r.split(reset, changed, removed)
	for i := range deltas {
		deltas[i].Time, deltas[i].UpTo = now, upTo
	}
	return deltas
}

// split makes events of a size that a browser handles without a pause.
func (r *rows) split(reset bool, changed []row, removed []string) []delta {
	var counts *actors.Counters
	if r.counters != nil {
		if c := r.counters(); reset || c != r.counts {
			r.counts, counts = c, &c
		}
	}
	if !reset && counts == nil && len(changed) == 0 && len(removed) == 0 {
		return nil
	}
	first := delta{Reset: reset, Removed: removed, Counters: counts}
	n := min(len(changed), rowsPerEvent)
	first.Actors = changed[:n]
	deltas := []delta{first}
	for chunk := range slices.Chunk(changed[n:], rowsPerEvent) {
		deltas = append(deltas, delta{Actors: chunk})
	}
	return deltas
}

// looksSame compares what a row shows. The count of handled messages is not: it changes with every message.
func looksSame(a, b actors.Info) bool {
	return a.State == b.State && a.Since.Equal(b.Since) && a.Mailbox == b.Mailbox && a.Restarts == b.Restarts &&
		a.Name == b.Name && same(a.Handling, b.Handling, func(x, y actors.Handling) bool { return x.Message == y.Message && x.Since.Equal(y.Since) }) &&
		same(a.NextRestart, b.NextRestart, time.Time.Equal) &&
		same(a.LastFailure, b.LastFailure, func(x, y actors.FailureInfo) bool { return x.Time.Equal(y.Time) && x.Reason == y.Reason })
}

func same[T any](a, b *T, equal func(T, T) bool) bool {
	if a == nil || b == nil {
		return a == b
	}
	return equal(*a, *b)
}
