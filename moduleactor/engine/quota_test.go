package engine

import (
	"runtime"
	"testing"
	"time"
)

// TestGuestsAreChargedOnce: two guests of a thread, of which Go lets now one and now the other run, are charged with its time
// together, not each with all of it.
func TestGuestsAreChargedOnce(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	_, begin := threadCPU()
	a, b := newQuota(t.Context(), nil, 0), newQuota(t.Context(), nil, 0)
	for range 20 {
		for _, q := range []*quota{a, b} {
			_, from := threadCPU()
			for now := from; now-from < time.Millisecond; {
				_, now = threadCPU()
			}
			q.pause()
		}
	}
	_, end := threadCPU()
	if used, all := a.cpu.Used()+b.cpu.Used(), end-begin; used > all || a.cpu.Used() < 20*time.Millisecond || b.cpu.Used() < 20*time.Millisecond {
		t.Errorf("charged %v and %v, of %v together", a.cpu.Used(), b.cpu.Used(), all)
	}
}

// TestGuestsShareALimit: the instances of an HTTP handler have its limit together, however many there are.
func TestGuestsShareALimit(t *testing.T) {
	cpu := &CPU{}
	a := newQuota(t.Context(), cpu, 100)
	cpu.charge(time.Hour)
	b := newQuota(t.Context(), cpu, 100)
	for _, q := range []*quota{a, b} {
		if wait := q.cpu.owes(q.share); wait < 9*time.Hour {
			t.Errorf("who has used an hour with a tenth of a CPU waits for %v", wait)
		}
	}
}
