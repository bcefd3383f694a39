package daemon

import (
	"time"

	"github.com/wazlet/wazlet/cmd/wazlet/config"
	"github.com/wazlet/wazlet/moduleactor/bundle"
)

// guestLimits is the node's configuration of its guests' limits in the words of package bundle.
func guestLimits(c config.GuestLimits) bundle.GuestLimits {
	return bundle.GuestLimits{
		OpenFiles: c.OpenFiles, OutputBytesPerSecond: c.OutputBytesPerSecond, MemoryBytes: c.MemoryBytes, StackBytes: c.StackBytes,
		TableElements: c.TableElements, DirectoryEntries: c.DirectoryEntries, PollSubscriptions: c.PollSubscriptions,
	}
}

// beyondCompile is what a start needs besides its compilation.
const beyondCompile = 30 * time.Second
