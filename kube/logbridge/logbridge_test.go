package logbridge_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/wazlet/wazlet/kube/logbridge"
)

func TestLevels(t *testing.T) {
	core, seen := observer.New(zap.DebugLevel)
	log := logbridge.New(zap.New(core)).WithName("lease").WithValues("node", "edge")
	log.Info("renewed", "n", 1)
	log.V(2).Info("sometimes")
	log.V(4).Info("often")
	log.Error(errors.New("refused"), "update", "try", 2)

	type line struct {
		Level, Logger, Msg string
		Fields             map[string]any
	}
	var got []line
	for _, e := range seen.All() {
		got = append(got, line{e.Level.String(), e.LoggerName, e.Message, e.ContextMap()})
	}
	want := []line{
		{"info", "lease", "renewed", map[string]any{"node": "edge", "n": int64(1)}},
		{"info", "lease", "sometimes", map[string]any{"node": "edge"}},
		{"debug", "lease", "often", map[string]any{"node": "edge"}},
		{"warn", "lease", "update", map[string]any{"node": "edge", "error": "refused", "try": int64(2)}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestBodiesOfRequestsAreNeverLogged(t *testing.T) {
	core, seen := observer.New(zap.DebugLevel)
	log := logbridge.New(zap.New(core))
	for v := 6; v <= 10; v++ {
		if log.V(v).Enabled() {
			t.Errorf("V(%d) is enabled", v)
		}
		log.V(v).Info("Response Body", "body", "secret")
	}
	if seen.Len() > 0 || !log.V(5).Enabled() {
		t.Errorf("logged %v; V(5) enabled: %t", seen.All(), log.V(5).Enabled())
	}
}

func TestDisabledLevelsCostNothing(t *testing.T) {
	core, _ := observer.New(zap.InfoLevel)
	log := logbridge.New(zap.New(core))
	if log.V(4).Enabled() || !log.V(2).Enabled() {
		t.Errorf("enabled: V(4) %v, V(2) %v, want false, true", log.V(4).Enabled(), log.V(2).Enabled())
	}
	if logbridge.New(nil).Enabled() {
		t.Error("a nil logger is enabled")
	}
}
