package daemon

import (
	"io"
	"testing"

	"go.uber.org/zap"

	"github.com/wazlet/wazlet/cmd/wazlet/config"
)

func TestVerbosity(t *testing.T) {
	cfg := config.Default()
	cfg.Logging.Level = config.LevelWarn
	d := &daemon{log: newLogger(cfg.Logging, io.Discard)}
	d.current.Store(&cfg)
	for _, c := range []struct {
		v    int
		want bool
	}{{0, false}, {4, true}, {10, true}, {3, false}} {
		d.setVerbosity(c.v)
		if got := d.log.Core().Enabled(zap.DebugLevel); got != c.want {
			t.Errorf("verbosity %d: debug is logged: %t, want %t", c.v, got, c.want)
		}
		if !d.log.Core().Enabled(zap.WarnLevel) {
			t.Errorf("verbosity %d: warnings are not logged", c.v)
		}
	}
	if cfg.Logging.Level != config.LevelWarn {
		t.Error("the configuration was changed")
	}
}
