package debug

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRingKeepsTheLast(t *testing.T) {
	var r ring[int]
	grown := 0
	for i := range 5 {
		grown += r.push(i, 3)
	}
	if diff := cmp.Diff([]int{2, 3, 4}, r.last(10)); diff != "" || grown != 3 {
		t.Errorf("grew by %d, kept (-want +got):\n%s", grown, diff)
	}
	if diff := cmp.Diff([]int{3, 4}, r.last(2)); diff != "" {
		t.Errorf("last 2 (-want +got):\n%s", diff)
	}
}

func TestRingLimitMayChange(t *testing.T) {
	var r ring[int]
	for i := range 4 {
		r.push(i, 3)
	}
	r.push(4, 5) // a wrapped ring that may grow again
	r.push(5, 5)
	r.push(6, 2) // a lower limit: one goes for each that comes
	if diff := cmp.Diff([]int{2, 3, 4, 5, 6}, r.last(10)); diff != "" {
		t.Errorf("kept (-want +got):\n%s", diff)
	}
}
