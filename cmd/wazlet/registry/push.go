package registry

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/wazlet/wazlet/moduleactor/image"
)

type pushOptions struct {
	Access

	format      string
	annotations []string
	noTime      bool
}

func newPush() *cobra.Command {
	o := &pushOptions{}
	cmd := &cobra.Command{
		Use:   "push FILE REF",
		Short: "Push a wasm module to a registry",
		Long: `Push a wasm module to a registry.

The default format is the wasm artifact of CNCF's TAG Runtime, which wazlet, runwasi, SpinKube and wasmCloud understand;
wasm-to-oci writes what Krustlet and older tools expect. The digest reference is printed on stdout.

The artifact carries the file's modification time as the time of its creation, so that pushing a file twice gives the same
digest; --no-created leaves it out.`,
		Example: `  wazlet push hello.wasm registry.example/hello:v1
  wazlet push hello.wasm localhost:5000/hello:v1 --format wasm-to-oci
  wazlet push hello.wasm registry.example/hello:v1 --annotation org.opencontainers.image.source=https://example.com/src`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd, args[0], args[1]) },
	}
	o.Bind(cmd)
	cmd.Flags().StringVar(&o.format, "format", string(image.FormatCNCF), "how the module is packed: cncf or wasm-to-oci")
	cmd.Flags().StringArrayVar(&o.annotations, "annotation", nil, "`KEY=VALUE` for the manifest; can be repeated")
	cmd.Flags().BoolVar(&o.noTime, "no-created", false, "leave the time of creation out, so that the digest depends on the content alone")
	_ = cmd.RegisterFlagCompletionFunc("format",
		cobra.FixedCompletions([]string{string(image.FormatCNCF), string(image.FormatWasmToOCI)}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (o *pushOptions) run(cmd *cobra.Command, file, ref string) error {
	opts, err := o.options(file)
	if err != nil {
		return err
	}
	var pushed image.Pushed
	err = o.client(cmd, func(c *image.Client) error {
		pushed, err = c.Push(cmd.Context(), file, ref, opts)
		return err
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "pushed %s to %s (%s, %s)\n", file, pushed.Ref, pushed.Format, bytesText(pushed.Size))
	fmt.Fprintln(cmd.OutOrStdout(), pushed.ID)
	return nil
}

func (o *pushOptions) options(file string) (image.PushOptions, error) {
	formats := []string{string(image.FormatCNCF), string(image.FormatWasmToOCI)}
	if !slices.Contains(formats, o.format) {
		return image.PushOptions{}, fmt.Errorf("--format: unknown format %q (allowed: %s)", o.format, strings.Join(formats, ", "))
	}
	annotations, err := parseAnnotations(o.annotations)
	if err != nil {
		return image.PushOptions{}, err
	}
	opts := image.PushOptions{Format: image.Format(o.format), Annotations: annotations}
	if info, err := os.Stat(file); err == nil && !o.noTime {
		opts.Created = info.ModTime().Truncate(time.Second)
	}
	return opts, nil
}

// parseAnnotations reads KEY=VALUE; the same key twice is a mistake.
func parseAnnotations(list []string) (map[string]string, error) {
	out := map[string]string{}
	for _, a := range list {
		key, value, ok := strings.Cut(a, "=")
		if !ok || key == "" {
			return nil, fmt.Errorf("--annotation: need KEY=VALUE (got %q)", a)
		}
		if _, twice := out[key]; twice {
			return nil, fmt.Errorf("--annotation: %q is given twice", key)
		}
		out[key] = value
	}
	return out, nil
}
