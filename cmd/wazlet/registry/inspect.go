package registry

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/wazlet/wazlet/moduleactor/engine/wasm"
	"github.com/wazlet/wazlet/moduleactor/image"
)

type inspectOptions struct {
	Access
	local

	output *string
	remote bool
}

func newInspect() *cobra.Command {
	o := &inspectOptions{}
	cmd := &cobra.Command{
		Use:   "inspect FILE|REF",
		Short: "Show what a module is, what it needs, and whether it runs here",
		Long: `Show what a module is: format, size, digest, imports and exports, which WASI it needs, and whether this node would run it
and if not, why.

A file that exists is looked at; otherwise the image in this node's store; otherwise the image in its registry.`,
		Example: `  wazlet inspect hello.wasm
  wazlet inspect registry.example/hello:v1 -o json | jq .runs`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd, args[0]) },
	}
	o.Bind(cmd)
	o.bind(cmd, false)
	o.output = outputFlag(cmd)
	cmd.Flags().BoolVar(&o.remote, "remote", false, "ask the registry even if the image is in the store or a file has that name")
	return cmd
}

func (o *inspectOptions) run(cmd *cobra.Command, what string) error {
	if err := checkOutput(*o.output); err != nil {
		return err
	}
	d, err := o.look(cmd, what)
	if err != nil {
		return err
	}
	if *o.output == "json" {
		return writeJSON(cmd.OutOrStdout(), d)
	}
	return describe(cmd.OutOrStdout(), d)
}

// look finds the thing and looks at it.
func (o *inspectOptions) look(cmd *cobra.Command, what string) (d image.Details, err error) {
	if !o.remote {
		if info, err := os.Stat(what); err == nil && info.Mode().IsRegular() {
			return image.InspectFile(what)
		}
		if strings.HasSuffix(what, ".wasm") && !strings.ContainsAny(what, ":@") {
			return image.Details{}, fmt.Errorf("inspect %s: no such file", what)
		}
		if d, err := o.stored(what); !errors.Is(err, image.ErrNotFound) {
			return d, err
		}
	}
	err = o.client(cmd, func(c *image.Client) error {
		d, err = c.Inspect(cmd.Context(), what)
		return err
	})
	return d, err
}

// stored looks into the store, if this user can; a developer's machine may have none.
func (o *inspectOptions) stored(ref string) (d image.Details, err error) {
	if _, err := os.Stat(o.dir()); err != nil {
		return d, image.ErrNotFound
	}
	s, err := o.open()
	if errors.Is(err, os.ErrPermission) {
		return d, image.ErrNotFound
	}
	if err != nil {
		return d, err
	}
	d, err = s.Inspect(ref)
	return d, errors.Join(err, s.Close())
}

func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// describe writes Details for a person.
func describe(out io.Writer, d image.Details) error {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(w, "%s:\t%s\n", name, harmless(value))
		}
	}
	line("Reference", d.Ref)
	line("ID", d.ID)
	line("Format", string(d.Format))
	line("Platform", d.Platform)
	if d.ID != "" {
		line("Image size", bytesText(d.Size))
	}
	line("Entrypoint", quoted(d.Entrypoint))
	line("Cmd", quoted(d.Cmd))
	line("Module", d.Digest)
	line("Kind", d.Kind)
	if m := d.Module; m != nil {
		line("Module size", bytesText(m.Size))
		line("Module name", wasm.Printable(m.Name))
		line("WASI", string(m.WASI))
		line("Memory", memories(m.Memories))
		line("Functions", strconv.Itoa(m.Functions))
	}
	if d.Runs {
		line("Runs here", "yes")
	} else {
		problems := make([]string, len(d.Problems))
		for i, p := range d.Problems {
			problems[i] = harmless(p)
		}
		fmt.Fprintf(w, "Runs here:\tno: %s\n", strings.Join(problems, "\n\t  "))
	}
	if err := w.Flush(); err != nil || d.Module == nil {
		return err
	}
	w = tabwriter.NewWriter(out, 0, 4, 2, ' ', 0) // columns of their own: the names may be long
	externs(w, d.Module)
	return w.Flush()
}

// externs lists imports and exports. The names are the module's own, so they are made printable.
func externs(w io.Writer, m *wasm.Module) {
	if len(m.Imports) > 0 {
		fmt.Fprintf(w, "Imports: %d\n", len(m.Imports))
	}
	for _, i := range m.Imports {
		fmt.Fprintf(w, "  %s\t%s %s\n", wasm.Printable(i.String()), i.Kind, i.Type)
	}
	if len(m.Exports) > 0 {
		fmt.Fprintf(w, "Exports: %d\n", len(m.Exports))
	}
	for _, e := range m.Exports {
		fmt.Fprintf(w, "  %s\t%s %s\n", wasm.Printable(e.Name), e.Kind, e.Type)
	}
}

func memories(list []wasm.Limits) string {
	var out []string
	for _, l := range list {
		s := bytesText(int64(l.Min * wasm.PageSize)) //nolint:gosec // at most 4 GiB where it matters
		if l.HasMax {
			s += " to " + bytesText(int64(l.Max*wasm.PageSize)) //nolint:gosec // as above
		} else {
			s += ", grows"
		}
		out = append(out, s)
	}
	return strings.Join(out, "; ")
}

func quoted(list []string) string {
	if len(list) == 0 {
		return ""
	}
	b, err := json.Marshal(list)
	if err != nil {
		return ""
	}
	return string(b)
}

// harmless keeps what an image says of itself from driving the terminal.
func harmless(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '\uFFFD'
		}
		return r
	}, s)
}
