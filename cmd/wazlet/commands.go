package main

import "github.com/spf13/cobra"

// commands are all commands but those that cobra adds.
func commands(_ []string) []*cobra.Command {
	return []*cobra.Command{newConfig(), newVersion()}
}
