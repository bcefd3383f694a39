package main

import (
	"strings"
	"sync"
)

// screen keeps what was written and lets one goroutine wait for a text.
type screen struct {
	mu    sync.Mutex
	text  strings.Builder
	grown chan struct{}
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text.Write(p)
	select {
	case s.grown <- struct{}{}:
	default:
	}
	return len(p), nil
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// await blocks until the text is there. Who calls it is bounded by the test's own deadline.
func (s *screen) await(text string) {
	for !strings.Contains(s.String(), text) {
		<-s.grown
	}
}
