package daemon

import (
	"context"
	"fmt"

	"go.uber.org/zap"

	"github.com/wazlet/wazlet/cmd/wazlet/config"
	"github.com/wazlet/wazlet/nodeactor"
)

// watchConfig reads the configuration again when its file changes or SIGHUP asks for it.
func (d *daemon) watchConfig(ctx context.Context) {
	if err := d.Flags.Watch(ctx, d.Config, d.again, d.update); err != nil {
		d.die(fmt.Errorf("watch the configuration: %w", err))
	}
}

// reload asks for another look at the configuration; one that is already asked for will do.
func (d *daemon) reload() {
	select {
	case d.again <- struct{}{}:
	default:
	}
}

// update applies what can be changed while the node runs.
func (d *daemon) update(u config.Update) {
	if u.Err != nil {
		d.log.Error("the configuration is invalid and was not read; the old one stays", zap.Error(u.Err))
		return
	}
	if len(u.NeedRestart) > 0 {
		d.log.Warn("these changes of the configuration need a restart", zap.Strings("fields", u.NeedRestart))
	}
	d.current.Store(&u.Config)
	d.log.settings.Store(&u.Config.Logging)
	d.system.Root().Send(d.node, nodeactor.Tune{Supervision: u.Config.Supervision})
	select {
	case <-d.gc: // not taken yet, and out of date now
	default:
	}
	d.gc <- u.Config.Images.GC
	d.log.Info("configuration read", zap.Strings("fields", u.Changed))
}
