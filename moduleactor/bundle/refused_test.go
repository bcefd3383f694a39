package bundle

import (
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What a shim says of its guest arrives whole, cut to what is allowed, also when it ends right after.
func TestRefused(t *testing.T) {
	var mu sync.Mutex
	var got []string
	f := newFixture(t, t.TempDir(), func(c *Config) {
		c.Refused = func(s Spec, text string) {
			mu.Lock()
			defer mu.Unlock()
			got = append(got, s.Container+": "+text)
		}
	})
	p := f.start(0, "refuse")
	if e := f.ended(p); e.Reason != Completed {
		t.Fatalf("%+v", e)
	}
	mu.Lock()
	defer mu.Unlock()
	c := p.Spec().Container
	want := []string{c + ": first line " + strings.Repeat("x", maxRefusal-1-len("first line ")), c + ": second"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}
