package debug

import (
	"errors"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"k8s.io/utils/clock"

	"github.com/wazlet/wazlet/actors"
)

const (
	eventsKept     = 4096
	decisionsKept  = 1000
	queueLength    = 512
	maxSubscribers = 32
)

// Recorder remembers what happened in the tree, for the Handler to show. Its Observe is an actors.Observer; it exists before
// the system it observes.
type Recorder struct {
	clock clock.PassiveClock
	boot  string // marks this run of the daemon in event ids

	mu        sync.Mutex
	next      uint64 // number of the next event; the first is 1
	events    ring[entry]
	decisions ring[actors.Decision]
	letters   letters
	histories *histories
	readers   map[*subscription]struct{}
	closed    bool
}

// entry is an event with its number.
type entry struct {
	number uint64
	event  actors.Event
}

// subscription is one reader of the stream of events.
type subscription struct {
	queue chan entry // closed when the recorder is
	// dropped counts what did not fit into the queue since the reader last asked.
	dropped atomic.Uint64
}

// NewRecorder returns an empty recorder. A nil clock is the real one.
func NewRecorder(c clock.PassiveClock) *Recorder {
	if c == nil {
		c = clock.RealClock{}
	}
	return &Recorder{
		clock:     c,
		boot:      strconv.FormatInt(c.Now().UnixMilli(), 36),
		next:      1,
		letters:   letters{counts: map[letterKind]uint64{}},
		histories: newHistories(),
		readers:   map[*subscription]struct{}{},
	}
}

// Observe takes one event. It never waits for a reader; safe from any goroutine.
func (r *Recorder) Observe(e actors.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	entry := entry{r.next, e}
	r.next++
	r.events.push(entry, eventsKept)
	switch e := e.(type) {
	case actors.Transition:
		r.histories.add(e, r.clock.Now())
	case actors.Decision:
		r.decisions.push(e, decisionsKept)
	case actors.DeadLetter:
		r.letters.add(e)
	case actors.Failure, actors.Notice:
	}
	for s := range r.readers {
		select {
		case s.queue <- entry:
		default:
			s.dropped.Add(1)
		}
	}
}

// Close ends every stream that is open and refuses new ones, so that an http.Server can shut down. Observe goes on to record.
func (r *Recorder) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	for s := range r.readers {
		close(s.queue)
	}
	clear(r.readers)
}

var (
	errClosed  = errors.New("the node is shutting down")
	errReaders = errors.New("too many streams are open (" + strconv.Itoa(maxSubscribers) + "); close one")
)

// subscribe adds a reader. backlog is what the reader has missed: everything after the event with id, or, when id is
// empty, the last n events. gap says that some of it is not kept any more, or that id is of another run of the daemon.
func (r *Recorder) subscribe(id string, n int) (s *subscription, backlog []entry, gap bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.closed:
		return nil, nil, false, errClosed
	case len(r.readers) >= maxSubscribers:
		return nil, nil, false, errReaders
	}
	s = &subscription{queue: make(chan entry, queueLength)}
	r.readers[s] = struct{}{}
	if id == "" {
		return s, r.events.last(n), false, nil
	}
	number, ok := r.parseID(id)
	if !ok {
		return s, r.events.last(n), true, nil
	}
	missed := r.next - 1 - number
	return s, r.events.last(int(min(missed, eventsKept))), missed > uint64(r.events.len()), nil
}

func (r *Recorder) unsubscribe(s *subscription) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.readers, s)
}

func (r *Recorder) id(number uint64) string { return r.boot + "-" + strconv.FormatUint(number, 10) }

// last returns the number of the last event, 0 before the first.
func (r *Recorder) last() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.next - 1
}

// parseID returns the number of an id that this recorder gave.
func (r *Recorder) parseID(id string) (number uint64, ok bool) {
	boot, digits, found := strings.Cut(id, "-")
	if !found || boot != r.boot {
		return 0, false
	}
	number, err := strconv.ParseUint(digits, 10, 64)
	return number, err == nil && number < r.next
}

// pastDecisions returns the decisions that are kept, the oldest first.
func (r *Recorder) pastDecisions() []actors.Decision {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.decisions.last(decisionsKept)
}

func (r *Recorder) deadLetters() deadLetters {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.letters.report()
}

// history returns a copy of what is known of the Pod that used the name last.
func (r *Recorder) history(namespace, name string) (p podHistory, changes []change, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.histories.expire(r.clock.Now())
	found := r.histories.find(namespace, name)
	if found == nil {
		return podHistory{}, nil, false
	}
	return podHistory{ref: found.ref, gone: found.gone}, found.changes.last(historyPerPod), true
}
