// Command devcluster is a real Kubernetes control plane on loopback for development and tests: etcd, kube-apiserver,
// kube-controller-manager and kube-scheduler in one process, with an own CA, RBAC, Node authorizer, NodeRestriction, CSR
// signing and a bootstrap token.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/component-base/version"

	"github.com/wazlet/wazlet/deploy/devcluster/internal/background"
	"github.com/wazlet/wazlet/deploy/devcluster/internal/pki"
)

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := command().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "devcluster:", err)
		return 1
	}
	return 0
}

func command() *cobra.Command {
	root := &cobra.Command{
		Use: "devcluster", Short: "A Kubernetes control plane on loopback", Version: version.Get().GitVersion,
		SilenceErrors: true, SilenceUsage: true,
	}
	root.AddCommand(upCommand(), statusCommand(), downCommand(), serveCommand())
	return root
}

func upCommand() *cobra.Command {
	c := background.Cluster{Local: []string{NodeCIDR, PodCIDR}}
	var signing time.Duration
	cmd := &cobra.Command{
		Use: "up --dir DIR", Short: "Start a control plane in the background and wait until it is ready", Args: cobra.NoArgs,
		Long: "Start a control plane whose state is in DIR, and leave DIR/admin.kubeconfig and DIR/bootstrap.kubeconfig there.\n" +
			"What was there before goes on: objects, keys and port are the same. Any number of them can run side by side.\n\n" +
			"With --netns all of it runs in a network namespace of its own, in which the addresses of nodes (" + NodeCIDR + ")\n" +
			"and of Pods (" + PodCIDR + ") are local; what shall reach it runs there too: ip netns exec NAME COMMAND.\n" +
			"Without, no privilege is needed, and the API server looks for addresses 10.a.b.c of these networks that the machine\n" +
			"does not have at 127.a.b.c.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c.Args = []string{"--signing-duration", signing.String()}
			if err := c.Up(cmd.Context()); err != nil {
				return err
			}
			return printExports(c, cmd.OutOrStdout())
		},
	}
	dirFlag(cmd, &c.Dir)
	cmd.Flags().StringVar(&c.Netns, "netns", "", "run in a new network namespace of this `NAME` (root)")
	signingFlag(cmd, &signing)
	return cmd
}

func statusCommand() *cobra.Command {
	var c background.Cluster
	cmd := &cobra.Command{
		Use: "status --dir DIR", Short: "Print what up printed if the control plane runs, fail if not", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return printExports(c, cmd.OutOrStdout()) },
	}
	dirFlag(cmd, &c.Dir)
	return cmd
}

func downCommand() *cobra.Command {
	var c background.Cluster
	purge := false
	cmd := &cobra.Command{
		Use: "down --dir DIR", Short: "Stop a control plane; its state waits for the next up", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.Down(cmd.Context(), purge) },
	}
	dirFlag(cmd, &c.Dir)
	cmd.Flags().BoolVar(&purge, "purge", false, "remove DIR and the network namespace too")
	return cmd
}

func serveCommand() *cobra.Command {
	p := &plane{}
	inBackground := false
	cmd := &cobra.Command{
		Use: "serve --dir DIR", Short: "Run a control plane in the foreground; up does it in the background", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if inBackground {
				lock, ready := background.Inherit()
				defer lock.Close()
				return errors.Join(lock.Serving(), p.serve(cmd.Context(), ready))
			}
			if err := os.MkdirAll(p.dir, 0o700); err != nil {
				return err
			}
			lock, err := background.Acquire(p.dir)
			if err != nil {
				return err
			}
			defer lock.Close()
			c := background.Cluster{Dir: p.dir}
			ready := func() error { return printExports(c, cmd.OutOrStdout()) }
			return errors.Join(lock.Serving(), p.serve(cmd.Context(), ready))
		},
	}
	dirFlag(cmd, &p.dir)
	signingFlag(cmd, &p.signing)
	cmd.Flags().BoolVar(&p.direct, "direct", false, "dial nodes and Pods directly: their addresses are local")
	cmd.Flags().BoolVar(&inBackground, "background", false, "up started it")
	_ = cmd.Flags().MarkHidden("background") // it is there
	return cmd
}

func signingFlag(cmd *cobra.Command, d *time.Duration) {
	cmd.Flags().DurationVar(d, "signing-duration", pki.Validity, "how long certificates of nodes hold at most")
}

// dirFlag adds the flag --dir. Its value is absolute when the command runs.
func dirFlag(cmd *cobra.Command, dir *string) {
	cmd.Flags().StringVar(dir, "dir", "", "`DIR` of the state")
	_ = cmd.MarkFlagRequired("dir") // it is there
	cmd.PreRunE = func(*cobra.Command, []string) (err error) {
		*dir, err = filepath.Abs(*dir)
		return err
	}
}

func printExports(c background.Cluster, out io.Writer) error {
	netns, err := c.Status()
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "export KUBECONFIG=%s\n# nodes join with %s\n",
		filepath.Join(c.Dir, adminKubeconfig), filepath.Join(c.Dir, bootstrapKubeconfig))
	if err == nil && netns != "" {
		_, err = fmt.Fprintf(out, "# it is reached from its network namespace: ip netns exec %s kubectl ...\n", netns)
	}
	return err
}
