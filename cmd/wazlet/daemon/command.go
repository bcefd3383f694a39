// Package daemon is `wazlet run`: where the Kubernetes column and the actors meet.
package daemon

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/wazlet/wazlet/cmd/wazlet/config"
	"github.com/wazlet/wazlet/cmd/wazlet/shim"
)

// OnTerm says what SIGTERM does to the Pods.
type OnTerm string

const (
	// Keep leaves them running, for the next daemon to adopt.
	Keep OnTerm = "keep"
	// Drain ends them.
	Drain OnTerm = "drain"
)

// String, Set and Type make an OnTerm a flag.
func (o *OnTerm) String() string { return string(*o) }

// Set accepts keep and drain.
func (o *OnTerm) Set(s string) error {
	switch OnTerm(s) {
	case Keep, Drain:
		*o = OnTerm(s)
		return nil
	default:
		return errors.New("must be keep or drain")
	}
}

// Type is what --help shows.
func (o *OnTerm) Type() string { return "keep|drain" }

// gcPercent is how much garbage there may be for what is in use, unless $GOGC says something else. A daemon does little, but it
// does it for thousands of Pods: memory is dearer to it than the time of a processor.
const gcPercent = 50

func setGC() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
}

// Command returns `wazlet run`. Version is shown on the debug page.
func Command(version string) *cobra.Command {
	onTerm, shimPath := Keep, ""
	c := &cobra.Command{
		Use:   "run",
		Short: "Run the node",
		Long: "Run the node in the foreground. Without a cluster it runs the Pods whose manifests it finds in --manifest-dir.\n\n" +
			"SIGINT ends all Pods, then the daemon. SIGTERM ends the daemon only: the Pods go on, and the next daemon with the\n" +
			"same --root-dir takes them over. SIGHUP reads the configuration file again.",
		Example: "  wazlet run --manifest-dir /etc/wazlet/manifests\n  wazlet run --config /etc/wazlet/node.yaml --log-level debug",
		Args:    cobra.NoArgs,
	}
	flags := config.BindFlags(c.Flags())
	c.Flags().Var(&onTerm, "on-term", "what SIGTERM does to the Pods")
	c.Flags().StringVar(&shimPath, "shim", "", "`PATH` of wazlet-shim (default: beside wazlet)")
	c.RunE = func(c *cobra.Command, _ []string) error {
		cfg, err := flags.Resolve()
		if err != nil {
			return err
		}
		path, err := shim.Find(shimPath)
		if err != nil {
			return err
		}
		setGC()
		signals := make(chan os.Signal, 4)
		signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
		defer signal.Stop(signals)
		// The signals decide how to end, so the context that they cancel too must not.
		return Run(context.WithoutCancel(c.Context()), Options{
			Config: cfg, Flags: flags, Shim: path, OnTerm: onTerm, Version: version, Log: c.ErrOrStderr(), Signals: signals,
		})
	}
	return c
}
