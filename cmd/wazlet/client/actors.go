package client

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/duration"
)

// actor is an entry of /debug/actors.
type actor struct {
	ID      string    `json:"id"`
	Parent  string    `json:"parent"`
	Kind    string    `json:"kind"`
	Name    string    `json:"name"`
	State   string    `json:"state"`
	Since   time.Time `json:"since"`
	Mailbox struct {
		Length    int `json:"length"`
		HighWater int `json:"highWater"`
	} `json:"mailbox"`
	Handling *struct {
		Message string    `json:"message"`
		Since   time.Time `json:"since"`
	} `json:"handling"`
	Handled     uint64     `json:"handled"`
	Restarts    uint64     `json:"restarts"`
	NextRestart *time.Time `json:"nextRestart"`
	LastFailure *struct {
		Time    time.Time `json:"time"`
		Reason  string    `json:"reason"`
		Message string    `json:"message"`
	} `json:"lastFailure"`
}

func newGetActors(connect func() (*node, error)) *cobra.Command {
	v := &actorViewer{now: time.Now}
	var watch bool
	cmd := &cobra.Command{
		Use:     "actors",
		Aliases: []string{"actor"},
		Short:   "Show the tree of actors of a node",
		Long: `Show the tree of actors of a node: the node actor, below it one actor for each Pod, below that one for each container.

A changing tree (-w) is shown as one line for each actor that changed.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			n, err := connect()
			if err != nil {
				return err
			}
			v.node, v.out = n, cmd.OutOrStdout()
			v.table.w = v.out
			return n.view(cmd.Context(), v, watch)
		},
	}
	cmd.Flags().VarP(&v.format, "output", "o", "more columns, or the objects")
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "go on and show what changes")
	return cmd
}

// actorViewer is `get actors`.
type actorViewer struct {
	node   *node
	format format
	now    clock
	out    io.Writer

	table table
	shown map[string]string // by id; nil before the first time
}

func (v *actorViewer) show(ctx context.Context) error {
	var answer struct {
		Actors []actor `json:"actors"`
	}
	raw, err := v.node.getJSON(ctx, "/debug/actors", &answer)
	if err != nil {
		return err
	}
	tree := grow(answer.Actors)
	changed, gone := v.changed(tree)
	first := v.shown == nil
	v.shown = marks(tree)
	if v.format == formatJSON || v.format == formatYAML {
		if !first && len(changed) == 0 && len(gone) == 0 {
			return nil
		}
		return printObject(v.out, v.format, json.RawMessage(raw))
	}
	rows := make([][]string, 0, len(changed))
	for _, l := range changed {
		rows = append(rows, v.row(l))
	}
	for _, id := range gone {
		rows = append(rows, []string{id, "", "Gone"})
	}
	if len(rows) == 0 && !first {
		return nil
	}
	return v.table.write(v.header(), rows)
}

func (v *actorViewer) header() []string {
	h := []string{"ACTOR", "KIND", "STATE", "SINCE", "RESTARTS", "NEXT RESTART", "MAILBOX"}
	if v.format == formatWide {
		h = append(h, "HIGH WATER", "HANDLED", "HANDLING", "LAST FAILURE", "ID")
	}
	return h
}

// leaf is an actor with its place in the printed tree.
type leaf struct {
	actor
	prefix string
}

// grow puts actors in the order of the tree, children by name. What has no parent in the list is a root.
func grow(list []actor) []leaf {
	list = slices.Clone(list)
	slices.SortFunc(list, func(a, b actor) int { return strings.Compare(a.Name+"\x00"+a.ID, b.Name+"\x00"+b.ID) })
	f := forest{children: map[string][]actor{}, done: map[string]bool{}}
	known := map[string]bool{}
	for _, a := range list {
		known[a.ID] = true
		f.children[a.Parent] = append(f.children[a.Parent], a)
	}
	for _, a := range list {
		if !known[a.Parent] || a.Parent == a.ID {
			f.add(a, "", "")
		}
	}
	for _, a := range list {
		f.add(a, "", "") // what is in a circle has no root, but is to be seen
	}
	return f.leaves
}

// forest is what grow works on.
type forest struct {
	children map[string][]actor
	done     map[string]bool
	leaves   []leaf
}

// add appends a and what is below it, unless that was done. Prefix is what stands before a's name, indent before its
// children's lines.
func (f *forest) add(a actor, prefix, indent string) {
	if f.done[a.ID] {
		return
	}
	f.done[a.ID] = true
	f.leaves = append(f.leaves, leaf{a, prefix})
	children := f.children[a.ID]
	for i, c := range children {
		branch, below := "├─ ", "│  "
		if i == len(children)-1 {
			branch, below = "└─ ", "   "
		}
		f.add(c, indent+branch, indent+below)
	}
}

// changed returns the actors that do not look as they did when they were printed, and the ids of those that are gone.
func (v *actorViewer) changed(tree []leaf) (changed []leaf, gone []string) {
	now := marks(tree)
	for _, l := range tree {
		if old, ok := v.shown[l.ID]; !ok || old != now[l.ID] {
			changed = append(changed, l)
		}
	}
	for _, id := range sortedKeys(v.shown) {
		if _, ok := now[id]; !ok {
			gone = append(gone, id)
		}
	}
	return changed, gone
}

// marks are equal for actors of which nothing happened that is worth a line.
func marks(tree []leaf) map[string]string {
	out := make(map[string]string, len(tree))
	for _, l := range tree {
		out[l.ID] = fmt.Sprint(l.State, l.Since.UnixNano(), l.Restarts, l.NextRestart != nil)
	}
	return out
}

func (v *actorViewer) row(l leaf) []string {
	now := v.now()
	next := "-"
	if l.NextRestart != nil {
		next = duration.HumanDuration(max(0, l.NextRestart.Sub(now)))
	}
	row := []string{
		l.prefix + l.Name, l.Kind, l.State, since(l.Since, now), strconv.FormatUint(l.Restarts, 10), next,
		strconv.Itoa(l.Mailbox.Length),
	}
	if v.format != formatWide {
		return row
	}
	handling, failure := "-", "-"
	if l.Handling != nil {
		handling = l.Handling.Message + " " + since(l.Handling.Since, now)
	}
	if l.LastFailure != nil {
		failure = fmt.Sprintf("%s (%s ago)", l.LastFailure.Reason, since(l.LastFailure.Time, now))
	}
	return append(row, strconv.Itoa(l.Mailbox.HighWater), strconv.FormatUint(l.Handled, 10), handling, failure, l.ID)
}

func since(t, now time.Time) string {
	if t.IsZero() {
		return "<unknown>"
	}
	return duration.HumanDuration(now.Sub(t))
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
