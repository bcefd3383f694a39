package main

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wazlet/wazlet/cmd/wazlet/client"
	"github.com/wazlet/wazlet/cmd/wazlet/daemon"
	"github.com/wazlet/wazlet/cmd/wazlet/registry"
	"github.com/wazlet/wazlet/cmd/wazlet/try"
)

// commands are all commands but those that cobra adds.
func commands(env []string) []*cobra.Command {
	cmds := []*cobra.Command{daemon.Command(theseVersions().Version), try.Command(), newConfig(), newVersion()}
	cmds = append(cmds, registry.Commands()...)
	return append(cmds, client.Commands(lookup(env))...)
}

// lookup returns what os.Getenv would for the environment env.
func lookup(env []string) func(string) string {
	return func(name string) string {
		for _, e := range slices.Backward(env) {
			if value, ok := strings.CutPrefix(e, name+"="); ok {
				return value
			}
		}
		return ""
	}
}
