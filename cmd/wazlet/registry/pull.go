package registry

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/wazlet/wazlet/moduleactor/image"
)

type pullOptions struct {
	Access

	output string
}

func newPull() *cobra.Command {
	o := &pullOptions{}
	cmd := &cobra.Command{
		Use:   "pull REF",
		Short: "Pull a wasm module from a registry into a file",
		Long: `Pull a wasm module from a registry into a file.

All formats that a node runs are understood: wasm artifacts (CNCF, wasm-to-oci, Bytecode Alliance, solo.io, oras) and
container images with a .wasm in them, of which the module alone is written. Without -o the file is named after the module,
in the current directory, and must not exist. The path is printed on stdout.`,
		Example: `  wazlet pull registry.example/hello:v1
  wazlet pull registry.example/hello:v1 -o hello.wasm
  wazlet pull registry.example/hello:v1 -o - | wasm-objdump -h -`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd, args[0]) },
	}
	o.Bind(cmd)
	cmd.Flags().StringVarP(&o.output, "output", "o", "", "`FILE` to write, replaced if it exists; - is stdout")
	return cmd
}

func (o *pullOptions) run(cmd *cobra.Command, ref string) error {
	if o.output == "-" {
		return o.toStdout(cmd, ref)
	}
	img, err := o.pull(cmd, ref, o.output)
	if err != nil {
		return err
	}
	tell(cmd, img, img.Module)
	fmt.Fprintln(cmd.OutOrStdout(), img.Module)
	return nil
}

func (o *pullOptions) pull(cmd *cobra.Command, ref, file string) (img image.Image, err error) {
	err = o.client(cmd, func(c *image.Client) error {
		img, err = c.Pull(cmd.Context(), ref, file)
		return err
	})
	return img, err
}

func tell(cmd *cobra.Command, img image.Image, where string) {
	fmt.Fprintf(cmd.ErrOrStderr(), "pulled %s to %s (%s, %s)\n", img.ID, where, img.Format, bytesText(img.Size))
}

// toStdout writes the module to stdout, once it is here and verified.
func (o *pullOptions) toStdout(cmd *cobra.Command, ref string) (err error) {
	dir, err := os.MkdirTemp("", "wazlet-pull-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	img, err := o.pull(cmd, ref, filepath.Join(dir, "module.wasm"))
	if err != nil {
		return err
	}
	f, err := os.Open(img.Module)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := io.Copy(cmd.OutOrStdout(), f); err != nil {
		return fmt.Errorf("write module: %w", err)
	}
	tell(cmd, img, "stdout")
	return nil
}
