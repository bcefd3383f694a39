package server

import (
	"context"
	"net/http"
	"sync"
)

// An inFlight counts what is being done, refuses more once it is closed, and can be waited for. A sync.WaitGroup may
// not be added to while it is waited for; http.Server.Shutdown does not count hijacked connections.
type inFlight struct {
	mu     sync.Mutex
	n      int
	closed bool
	idle   chan struct{} // closed when closed and n is 0
}

func newInFlight() *inFlight { return &inFlight{idle: make(chan struct{})} }

// enter reports whether work may begin; then leave must follow.
func (f *inFlight) enter() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return false
	}
	f.n++
	return true
}

func (f *inFlight) leave() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.n--
	f.settle()
}

// close refuses further work; it may be called once.
func (f *inFlight) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	f.settle()
}

func (f *inFlight) settle() {
	if f.closed && f.n == 0 {
		close(f.idle)
	}
}

// wait returns how much is still being done when ctx is done, 0 when everything ended before.
func (f *inFlight) wait(ctx context.Context) int {
	select {
	case <-f.idle:
	case <-ctx.Done():
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.n
}

func (f *inFlight) middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !f.enter() {
			http.Error(w, "the server is stopping", http.StatusServiceUnavailable)
			return
		}
		defer f.leave()
		next.ServeHTTP(w, r)
	})
}
