package debug

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/wazlet/wazlet/actors"
)

const (
	heartbeat = 15 * time.Second // of an otherwise silent stream, so that both ends notice a dead connection
	rowsEvery = time.Second
	retryMS   = 1000 // how soon a browser connects again
)

// serveEvents answers GET /debug/events: server-sent events, one for each event of the tree, with an id of the form
// BOOT-NUMBER. A reader that comes back with Last-Event-ID gets what it missed; when that is not known any more it first
// gets an event "gap". A reader that is too slow gets an event "dropped" with the number of events that it lost.
//
//	?backlog=N    begin with the last N events
//	?actors=true  also send events "actors": all rows of the tree at first, then once a second those that changed
func (h *handler) serveEvents(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	backlog, err := count(query.Get("backlog"))
	if err != nil {
		refuse(w, r, http.StatusBadRequest, err.Error())
		return
	}
	after := r.Header.Get("Last-Event-ID")
	if after == "" {
		after = query.Get("lastEventId")
	}
	sub, missed, gap, err := h.Recorder.subscribe(after, backlog)
	if err != nil {
		refuse(w, r, http.StatusServiceUnavailable, err.Error())
		return
	}
	defer h.Recorder.unsubscribe(sub)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no")
	if r.Method == http.MethodHead {
		return
	}
	s := &stream{w: w, control: http.NewResponseController(w), recorder: h.Recorder}
	if query.Get("actors") == "true" {
		s.rows = &rows{tree: h.Actors, counters: h.Counters, last: h.Recorder.last}
	}
	s.begin(h.Clock.Now(), missed, gap)
	h.follow(r, s, sub)
}

func count(s string) (int, error) {
	if s == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("backlog: want a number from 0 to %d, got %q", eventsKept, s)
	}
	return min(n, eventsKept), nil
}

// follow feeds the stream until the client goes, a write fails or the recorder is closed.
func (h *handler) follow(r *http.Request, s *stream, sub *subscription) {
	interval := heartbeat
	if s.rows != nil {
		interval = rowsEvery
	}
	timer := h.Clock.NewTimer(interval)
	defer func() { timer.Stop() }()
	for s.err == nil {
		select {
		case <-r.Context().Done():
			return
		case e, open := <-sub.queue:
			if !open {
				return
			}
			s.entry(e)
			s.drain(sub)
		case <-timer.C():
			s.beat(h.Clock.Now())
			timer = h.Clock.NewTimer(interval)
		}
		if n := sub.dropped.Swap(0); n > 0 {
			s.event("", "dropped", struct {
				Count uint64 `json:"count"`
			}{n})
		}
		s.flush()
	}
}

// stream writes server-sent events. After the first error it writes nothing more.
type stream struct {
	w        io.Writer
	control  *http.ResponseController
	recorder *Recorder
	rows     *rows // nil: not asked for
	sent     time.Time
	err      error
}

func (s *stream) begin(now time.Time, missed []entry, gap bool) {
	s.printf("retry: %d\n\n", retryMS)
	s.sent = now
	if gap {
		s.event("", "gap", struct{}{})
	}
	if s.rows != nil {
		s.actors(now)
	}
	for _, e := range missed {
		s.entry(e)
	}
	s.flush()
}

// drain sends what is queued already, to flush once for all of it.
func (s *stream) drain(sub *subscription) {
	for range queueLength {
		select {
		case e, open := <-sub.queue:
			if !open {
				return
			}
			s.entry(e)
		default:
			return
		}
	}
}

// beat is called at each interval: changed rows, or else a comment when nothing was sent for long.
func (s *stream) beat(now time.Time) {
	if s.rows != nil && s.actors(now) {
		s.sent = now
		return
	}
	if s.rows == nil || now.Sub(s.sent) >= heartbeat {
		s.printf(": heartbeat\n\n")
		s.sent = now
	}
}

func (s *stream) actors(now time.Time) bool {
	deltas := s.rows.next(now)
	for _, d := range deltas {
		s.event("", "actors", d)
	}
	return len(deltas) > 0
}

func (s *stream) entry(e entry) {
	if t, ok := e.event.(actors.Transition); ok && s.rows != nil {
		s.rows.tell(t.Actor)
	}
	name, shape := wire(e.event)
	s.event(s.recorder.id(e.number), name, shape)
}

func (s *stream) event(id, name string, shape any) {
	data, err := json.Marshal(shape)
	if err != nil {
		s.err = errors.Join(s.err, err)
		return
	}
	if id != "" {
		s.printf("id: %s\n", id)
	}
	s.printf("event: %s\ndata: %s\n\n", name, data)
}

func (s *stream) printf(format string, args ...any) {
	if s.err == nil {
		_, s.err = fmt.Fprintf(s.w, format, args...)
	}
}

func (s *stream) flush() {
	if s.err == nil {
		s.err = s.control.Flush()
	}
}
