// Command devcluster is a real Kubernetes control plane on loopback for development and tests: etcd, kube-apiserver,
// kube-controller-manager and kube-scheduler in one process, with an own CA, RBAC, Node authorizer, NodeRestriction, CSR
// signing and a bootstrap token.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := command().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "devcluster:", err)
		os.Exit(1)
	}
}

func command() *cobra.Command {
	root := &cobra.Command{
		Use: "devcluster", Short: "A Kubernetes control plane on loopback",
		SilenceErrors: true, SilenceUsage: true,
	}
	root.AddCommand(upCommand(), downCommand(), serveCommand())
	return root
}

func upCommand() *cobra.Command {
	var c Cluster
	cmd := &cobra.Command{
		Use: "up --dir DIR", Short: "Start a control plane in the background and wait until it is ready",
		Long: "Start a control plane whose state is in DIR, and leave DIR/admin.kubeconfig and DIR/bootstrap.kubeconfig there.\n" +
			"Any number of them can run side by side. With --netns all of it runs in a network namespace of its own, in which\n" +
			"the Pods' and the nodes' addresses are local.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.Up(cmd.Context(), cmd.OutOrStdout()) },
	}
	cmd.Flags().StringVar(&c.Dir, "dir", "", "`DIR` of the state")
	cmd.Flags().StringVar(&c.Netns, "netns", "", "run in a new network namespace of this `NAME` (root)")
	_ = cmd.MarkFlagRequired("dir")
	return cmd
}

func downCommand() *cobra.Command {
	var c Cluster
	purge := false
	cmd := &cobra.Command{
		Use: "down --dir DIR", Short: "Stop a control plane", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.Down(cmd.Context(), purge) },
	}
	cmd.Flags().StringVar(&c.Dir, "dir", "", "`DIR` of the state")
	cmd.Flags().BoolVar(&purge, "purge", false, "remove DIR too")
	_ = cmd.MarkFlagRequired("dir")
	return cmd
}

func serveCommand() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use: "serve --dir DIR", Short: "Run a control plane in the foreground; what up does in the background", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return serve(cmd.Context(), dir) },
	}
	cmd.Flags().StringVar(&dir, "dir", "", "`DIR` of the state")
	_ = cmd.MarkFlagRequired("dir")
	return cmd
}
