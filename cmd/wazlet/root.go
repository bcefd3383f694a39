package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

const longHelp = `wazlet is a Kubernetes node agent for WebAssembly.

Every container of every Pod on its node is a wasm module, pulled from an OCI registry and run under wazero with WASI.
Without a cluster it runs the Pods it finds in a manifest directory.`

const rootExample = `  wazlet run --manifest-dir deploy/examples/manifests
  wazlet try hello.wasm -- one two
  wazlet push hello.wasm registry.example/hello:v1
  wazlet get pods
  wazlet logs hello`

// The groups of `wazlet --help`.
const (
	groupRun    = "run"
	groupImages = "images"
	groupLook   = "look"
	groupOther  = "other"
)

// groupOf says under which title a command is listed.
func groupOf(command string) string {
	switch command {
	case "run", "try":
		return groupRun
	case "push", "pull", "inspect", "image":
		return groupImages
	case "get", "logs":
		return groupLook
	default:
		return groupOther
	}
}

func newRoot(env []string) *cobra.Command {
	root := &cobra.Command{
		Use:     "wazlet COMMAND",
		Short:   "A Kubernetes node agent for WebAssembly",
		Long:    longHelp,
		Example: rootExample,
		Args:    noSuchCommand,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },

		DisableFlagsInUseLine:      true,
		SilenceErrors:              true,
		SilenceUsage:               true,
		SuggestionsMinimumDistance: 2,
		CompletionOptions:          cobra.CompletionOptions{HiddenDefaultCmd: false},
	}
	root.AddGroup(
		&cobra.Group{ID: groupRun, Title: "Run a node:"},
		&cobra.Group{ID: groupImages, Title: "Images:"},
		&cobra.Group{ID: groupLook, Title: "Look at a node:"},
		&cobra.Group{ID: groupOther, Title: "Other:"},
	)
	for _, cmd := range commands(env) {
		cmd.GroupID = groupOf(cmd.Name())
		root.AddCommand(cmd)
	}
	root.SetHelpCommandGroupID(groupOther)
	root.SetCompletionCommandGroupID(groupOther)
	root.SetUsageTemplate(usageTemplate(root.UsageTemplate()))
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fmt.Errorf("%w\nSee '%s --help'", err, cmd.CommandPath())
	})
	return root
}

// usageTemplate says in one line how a command is called. Cobra's own has two for a command that both runs, if only to
// refuse what it does not know, and has commands below it.
func usageTemplate(cobras string) string {
	return strings.Replace(cobras, "{{if .Runnable}}\n  {{.UseLine}}{{end}}{{if .HasAvailableSubCommands}}\n  {{.CommandPath}} [command]{{end}}",
		"\n  {{if .Runnable}}{{.UseLine}}{{else}}{{.CommandPath}} COMMAND{{end}}", 1)
}

// noSuchCommand refuses what is not a command and says what may have been meant.
func noSuchCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	msg := fmt.Sprintf("unknown command %q", args[0])
	if like := cmd.SuggestionsFor(args[0]); len(like) > 0 {
		msg += "; did you mean " + strings.Join(like, " or ") + "?"
	}
	return fmt.Errorf("%s\nSee '%s --help'", msg, cmd.CommandPath())
}
