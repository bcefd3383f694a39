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
