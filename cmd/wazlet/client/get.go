package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"
)

// format is the value of -o.
type format string

const (
	formatTable format = ""
	formatWide  format = "wide"
	formatJSON  format = "json"
	formatYAML  format = "yaml"
)

// String, Set and Type make a format a flag.
func (f *format) String() string { return string(*f) }

// Set accepts the formats that there are.
func (f *format) Set(s string) error {
	if !slices.Contains([]format{formatWide, formatJSON, formatYAML}, format(s)) {
		return fmt.Errorf("must be wide, json or yaml (got %q)", s)
	}
	*f = format(s)
	return nil
}

// Type is what --help shows.
func (f *format) Type() string { return "wide|json|yaml" }

func newGet(getenv func(string) string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "get pods|actors",
		Short: "Show the Pods of a node, or its actors",
		Example: `  wazlet get pods
  wazlet get pods hello -o yaml
  wazlet get actors -w`,
		DisableFlagsInUseLine: true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errors.New("get what? one of pods, actors")
			}
			return fmt.Errorf("cannot get %q; it must be pods or actors", args[0])
		},
		RunE: func(*cobra.Command, []string) error { return nil },
	}
	connect := addEndpointFlag(cmd, getenv)
	cmd.AddCommand(newGetPods(connect), newGetActors(connect))
	return cmd
}

// viewer shows one kind of thing, and, when watching, what changed of it since the last time.
type viewer interface {
	// show asks the node and prints.
	show(ctx context.Context) error
}

// view shows v once, or again and again until ctx is done.
func (n *node) view(ctx context.Context, v viewer, watch bool) error {
	if !watch {
		return v.show(ctx)
	}
	return unlessInterrupted(ctx, n.follow(ctx, v.show))
}

// unlessInterrupted returns err, or nil when the user has ended a command that goes on by itself.
func unlessInterrupted(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		return err
	}
	return nil
}

// printObject prints v as -o json or -o yaml want it.
func printObject(w io.Writer, f format, v any) error {
	data, err := json.MarshalIndent(v, "", "    ")
	if err != nil {
		return fmt.Errorf("print as json: %w", err)
	}
	if f == formatYAML {
		if data, err = yaml.JSONToYAML(data); err != nil {
			return fmt.Errorf("print as yaml: %w", err)
		}
	} else {
		data = append(data, '\n')
	}
	_, err = w.Write(data)
	return err
}

// table prints rows in columns as wide as kubectl's: three spaces apart. When watching, later rows keep the widths of the
// first ones where they fit.
type table struct {
	w      io.Writer
	widths []int
	begun  bool
}

func (t *table) write(header []string, rows [][]string) error {
	if !t.begun {
		rows = slices.Insert(slices.Clone(rows), 0, header)
		t.begun = true
	}
	for _, row := range rows {
		for i, cell := range row {
			if i >= len(t.widths) {
				t.widths = append(t.widths, 0)
			}
			t.widths[i] = max(t.widths[i], len([]rune(cell)))
		}
	}
	var b strings.Builder
	for _, row := range rows {
		for i, cell := range row {
			b.WriteString(cell)
			if i < len(row)-1 {
				b.WriteString(strings.Repeat(" ", t.widths[i]-len([]rune(cell))+3))
			}
		}
		b.WriteByte('\n')
	}
	_, err := io.WriteString(t.w, b.String())
	return err
}

// clock tells the time of ages; tests set it.
type clock func() time.Time
