package main

import (
	"sync"

	"github.com/wazlet/wazlet/moduleactor/bundle/ctl"
)

// unheard are texts that nobody was there to hear, the latest of them.
type unheard []string

// maxUnheard is as many as may be told at once.
const maxUnheard = burst

func (u *unheard) add(text string) {
	if len(*u) == maxUnheard {
		*u = (*u)[1:]
	}
	*u = append(*u, text)
}

// herald tells what was refused to the guest of this process: the daemon that started it, by its pipe, or, when that is gone,
// the one that asks at the socket. What is refused while there is none is told to the next.
type herald struct {
	// pipe is false when nobody has the other end of it any more.
	pipe func(text string) bool

	mu   sync.Mutex
	left unheard
	more chan struct{} // has room for one: something may be left
}

func newHerald(pipe func(string) bool) *herald {
	return &herald{pipe: pipe, more: make(chan struct{}, 1)}
}

// tell does not wait.
func (h *herald) tell(text string) {
	if !h.pipe(text) {
		h.keep(text)
	}
}

func (h *herald) keep(text string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.left.add(text)
	select {
	case h.more <- struct{}{}:
	default:
	}
}

func (h *herald) next() (text string, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.left) == 0 {
		return "", false
	}
	text, h.left = h.left[0], h.left[1:]
	return text, true
}

// serve is the verb. It returns when the client is gone.
func (h *herald) serve(_ []byte, conn *ctl.Conn) error {
	if err := conn.Accept(nil); err != nil {
		return err
	}
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		defer func() { _ = recover() }()
		for {
			if _, _, err := conn.ReadFrame(); err != nil { // a client has nothing to say
				return
			}
		}
	}()
	for {
		for text, ok := h.next(); ok; text, ok = h.next() {
			if err := conn.WriteFrame(ctl.Refusal, []byte(text)); err != nil {
				h.keep(text)
				return err
			}
		}
		select {
		case <-h.more:
		case <-gone:
			return nil
		}
	}
}
