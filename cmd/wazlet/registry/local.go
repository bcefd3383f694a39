package registry

import (
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/wazlet/wazlet/moduleactor/image"
)

func newImage() *cobra.Command {
	l := &local{}
	cmd := &cobra.Command{
		Use:   "image",
		Short: "Manage the images on this node",
		Long: `Manage the images on this node. The node may run meanwhile.

Images come here when Pods need them, or with import from a file; imported ones are never collected as garbage, because no
registry has them.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	l.bind(cmd, true)
	cmd.AddCommand(newImageImport(l), newImageList(l), newImageRemove(l))
	return cmd
}

func newImageImport(l *local) *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:   "import FILE.wasm --name REF",
		Short: "Put a wasm module into this node's store, without a registry",
		Long: `Put a wasm module into this node's store under a name that Pods can use as their image, with imagePullPolicy Never or
IfNotPresent. The digest reference is printed on stdout.`,
		Example: `  wazlet image import hello.wasm --name hello:dev`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return l.with(func(s *image.Store) error {
				got, err := s.Import(cmd.Context(), args[0], name)
				if err != nil {
					return err
				}
				fmt.Fprintf(cmd.ErrOrStderr(), "imported %s as %s (%s)\n", args[0], got.Ref, bytesText(got.Size))
				fmt.Fprintln(cmd.OutOrStdout(), got.ID)
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "`REF` to keep it under, such as hello:dev (required)")
	_ = cmd.MarkFlagRequired("name")
	return cmd
}

func newImageList(l *local) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List the images on this node",
		Args:    cobra.NoArgs,
	}
	output := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := checkOutput(*output); err != nil {
			return err
		}
		return l.with(func(s *image.Store) error {
			list, err := s.List()
			if err != nil {
				return err
			}
			if *output == "json" {
				return writeJSON(cmd.OutOrStdout(), list)
			}
			return writeTable(cmd.OutOrStdout(), list, time.Now())
		})
	}
	return cmd
}

func writeTable(out io.Writer, list []image.Stored, now time.Time) error {
	w := tabwriter.NewWriter(out, 0, 4, 3, ' ', 0)
	fmt.Fprintln(w, "REFERENCE\tMODULE\tFORMAT\tSIZE\tAGE\tLAST USED")
	for _, s := range list {
		used := "never"
		if !s.LastUsed.IsZero() {
			used = duration.HumanDuration(now.Sub(s.LastUsed)) + " ago"
		}
		fmt.Fprintf(w, "%s\t%.19s\t%s\t%s\t%s\t%s\n", s.Ref, s.Digest, s.Format, bytesText(s.Size),
			duration.HumanDuration(now.Sub(s.ImportedAt)), used)
	}
	return w.Flush()
}

func newImageRemove(l *local) *cobra.Command {
	return &cobra.Command{
		Use:     "rm REF...",
		Aliases: []string{"remove"},
		Short:   "Remove images from this node",
		Long: `Remove images from this node, by reference or by digest reference. Containers that run keep running; a container that
starts again pulls its image again, unless it was imported.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return l.with(func(s *image.Store) error {
				var errs []error
				for _, ref := range args {
					if err := s.Remove(ref); err != nil {
						errs = append(errs, err)
						continue
					}
					fmt.Fprintln(cmd.OutOrStdout(), ref)
				}
				return errors.Join(errs...)
			})
		},
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return l.references(), cobra.ShellCompDirectiveNoFileComp
		},
	}
}

// references are what can be completed; without a store, nothing.
func (l *local) references() []string {
	var out []string
	_ = l.with(func(s *image.Store) error {
		list, err := s.List()
		for _, i := range list {
			out = append(out, i.Ref)
		}
		return err
	})
	return out
}
