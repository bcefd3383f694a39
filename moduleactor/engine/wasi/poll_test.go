package wasi

import (
	"encoding/binary"
	"os"
	"testing"
)

// TestPollWaitsOnceForEach asks for some pipes again and again: what is waited for does not grow with that.
func TestPollWaitsOnceForEach(t *testing.T) {
	in, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = in.Close() })
	const pipes = 20
	for range pipes {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		s, err := newStream(r, unknownFile, streamRights, true)
		if err != nil {
			t.Fatal(err)
		}
		in.table.add(s)
		t.Cleanup(func() { _ = w.Close() })
	}
	for _, repeated := range []int{1, 2, DefaultMaxSubscriptions / pipes} {
		n := pipes * repeated
		p := poll{call: call{Instance: in}, subs: make([]byte, n*subscriptionSize), out: make([]byte, n*eventSize), size: subscriptionSize}
		for i := range n {
			b := p.subs[i*subscriptionSize:]
			b[8] = eventFDRead
			binary.LittleEndian.PutUint32(b[16:], uint32(3+i%pipes))
		}
		for range 2 { // the second time as after a wait in vain
			if p.scan(); len(p.list) != pipes || p.ready != 0 {
				t.Errorf("%d subscriptions: waits for %d, %d events", n, len(p.list), p.ready)
			}
		}
	}
}
