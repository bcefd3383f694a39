package main

import (
	"net/netip"
	"sync"
	"time"

	"github.com/wazlet/wazlet/moduleactor/bundle"
	"github.com/wazlet/wazlet/moduleactor/engine/wasi"
	"github.com/wazlet/wazlet/moduleactor/resolver"
)

// guestNetwork is what the sockets that a guest opens may do; nil for a spec without a network. What is refused is told.
func guestNetwork(spec *bundle.Spec, tell func(string)) *wasi.Network {
	n := spec.Network
	if n == nil {
		return nil
	}
	policy, told := n.Egress, &refusals{}
	policy.Own = nil // of these it is asked only for what is not the Pod's
	return &wasi.Network{
		Addresses: n.Egress.Own,
		Check: func(to netip.AddrPort, names []string) error {
			err := policy.Check(to, names...)
			if err != nil && told.news(err.Error(), time.Now()) {
				tell(err.Error())
			}
			return err
		},
		Lookup: resolver.New(n.DNS, spec.Hosts()).Lookup,
	}
}

// refusals keeps a guest that tries again and again from being told of each time. The instances of an HTTP handler share it.
type refusals struct {
	mu   sync.Mutex
	said map[string]time.Time
	last time.Time
	left int
}

const (
	// sayAgain is when the same refusal is news again, refill when one more different one may be told, after burst at once.
	sayAgain = 10 * time.Minute
	refill   = 30 * time.Second
	burst    = 10
)

// news tells whether a refusal is to be told.
func (r *refusals) news(text string, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if at, ok := r.said[text]; ok && now.Sub(at) < sayAgain {
		return false
	}
	if r.said == nil {
		r.said, r.last, r.left = map[string]time.Time{}, now, burst
	}
	if n := int(now.Sub(r.last) / refill); n > 0 {
		r.left, r.last = min(r.left+n, burst), now
	}
	if r.left == 0 {
		return false
	}
	for old, at := range r.said {
		if now.Sub(at) >= sayAgain {
			delete(r.said, old)
		}
	}
	r.said[text] = now
	r.left--
	return true
}
