package daemon

import (
	"github.com/wazlet/wazlet/cmd/wazlet/config"
	"github.com/wazlet/wazlet/podactor"
)

// handlerLimits is the node's configuration of HTTP handlers in the words of package podactor.
func handlerLimits(c config.HTTPHandlers) podactor.HandlerLimits {
	return podactor.HandlerLimits{
		Default: podactor.HandlerLimit{
			Timeout: c.Timeout.Default.Duration, MaxConcurrency: c.MaxConcurrency.Default, MaxBodyBytes: c.MaxBodyBytes.Default.Value(),
		},
		Max: podactor.HandlerLimit{
			Timeout: c.Timeout.Max.Duration, MaxConcurrency: c.MaxConcurrency.Max, MaxBodyBytes: c.MaxBodyBytes.Max.Value(),
		},
	}
}
