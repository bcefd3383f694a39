package engine_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wazlet/wazlet/moduleactor/engine"
	"github.com/wazlet/wazlet/moduleactor/engine/enginetest"
)

// counted is what a guest printed.
type counted struct{ bytes int }

func (c *counted) Write(p []byte) (int, error) {
	c.bytes += len(p)
	return len(p), nil
}

// A guest that prints without end is held up, not cut off: in ten seconds it prints what may come at once, and ten times
// what it may in a second. While it is held up it can be stopped.
func TestOutputIsPaced(t *testing.T) {
	p := load(t, enginetest.C(t, "wait.c"))
	for _, rate := range []int64{1024, 100_000} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			var out counted
			res := p.Run(ctx, engine.Guest{Args: []string{"wait", "write"}, Stdout: &out, Stderr: &counted{}, OutputBytesPerSecond: rate})
			if diff := cmp.Diff(engine.Result{Code: 143, Reason: engine.Stopped, Message: "context deadline exceeded"}, res); diff != "" {
				t.Error(diff)
			}
			if got, most := int64(out.bytes), 11*rate; got > most || got < most-rate {
				t.Errorf("printed %d bytes, want %d", got, most)
			}
		})
	}
}

// What a guest prints at its pace does not wait.
func TestOutputAtItsPace(t *testing.T) {
	p := load(t, enginetest.C(t, "hello.c"))
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		if res := p.Run(t.Context(), engine.Guest{Args: []string{"hello"}, OutputBytesPerSecond: 1024}); res.Reason != engine.Completed {
			t.Errorf("%+v", res)
		}
		if d := time.Since(begun); d != 0 {
			t.Errorf("waited %s", d)
		}
	})
}
