package bundle

import "testing"

func TestUsesGrace(t *testing.T) {
	for name, tt := range map[string]struct {
		spec Spec
		want bool
	}{
		"neither": {Spec{}, false}, "signals": {Spec{Signals: true}, true}, "a port": {Spec{Listeners: make([]Listener, 1)}, true},
	} {
		if got := tt.spec.UsesGrace(); got != tt.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

// TestSum: what was written and read has the sum of what was to be written; what was changed has another.
func TestSum(t *testing.T) {
	s := testSpec("/r", 0, "x")
	s.Args, s.Env = []string{"a", "not \xff UTF-8"}, []string{}
	dir := t.TempDir()
	if err := WriteSpec(dir, s); err != nil {
		t.Fatal(err)
	}
	read, err := ReadSpec(dir)
	if err != nil {
		t.Fatal(err)
	}
	changed := read
	changed.Landlock = !changed.Landlock
	var sums []string
	for _, s := range []Spec{s, read, changed} {
		sum, err := s.Sum()
		if err != nil {
			t.Fatal(err)
		}
		sums = append(sums, sum)
	}
	if sums[0] != sums[1] || sums[1] == sums[2] {
		t.Errorf("%q", sums)
	}
}
