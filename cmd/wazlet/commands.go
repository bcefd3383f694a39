package main

import (
	"github.com/spf13/cobra"

	"github.com/wazlet/wazlet/cmd/wazlet/daemon"
	"github.com/wazlet/wazlet/cmd/wazlet/try"
)

// commands are all commands but those that cobra adds.
func commands(_ []string) []*cobra.Command {
	return []*cobra.Command{daemon.Command(version), try.Command(), newConfig(), newVersion()}
}
