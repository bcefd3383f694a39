package config

import (
	"context"
	"encoding/json"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
	"k8s.io/utils/clock"
)

// Update is what reading the file again has brought.
type Update struct {
	// Config is what holds from now on: the running configuration with the parts that can change while the node runs.
	Config NodeConfiguration
	// Changed are the paths of the fields that differ from the running configuration and apply at once.
	Changed []string
	// NeedRestart are the paths of the fields that differ, and keep the running value until the daemon is restarted.
	NeedRestart []string
	// Err joins all problems of a file that is not valid. Then nothing has changed.
	Err error
}

// live are the parts that can change while the node runs.
func live() []string { return []string{"supervision", "images.gc", "logging"} }

// Reload reads the file again and compares it with the running configuration. Flags still override the file. Without a
// file nothing can have changed.
func (f *Flags) Reload(running NodeConfiguration) Update {
	u := Update{Config: running}
	if f.path == "" {
		return u
	}
	next, err := f.Resolve()
	if err != nil {
		u.Err = err
		return u
	}
	for _, path := range differences(running, next) {
		if isLive(path) {
			u.Changed = append(u.Changed, path)
		} else {
			u.NeedRestart = append(u.NeedRestart, path)
		}
	}
	u.Config.Supervision, u.Config.Images.GC, u.Config.Logging = next.Supervision, next.Images.GC, next.Logging
	return u
}

func isLive(path string) bool {
	return slices.ContainsFunc(live(), func(part string) bool {
		return path == part || strings.HasPrefix(path, part+".")
	})
}

// differences returns the paths of the fields in which a and b differ, sorted. A list is one field.
func differences(a, b NodeConfiguration) []string {
	x, y := flatten(a), flatten(b)
	var paths []string
	for path := range merged(x, y) {
		if !reflect.DeepEqual(x[path], y[path]) {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	return paths
}

func merged(a, b map[string]any) map[string]any {
	out := maps.Clone(a)
	maps.Copy(out, b)
	return out
}

// flatten maps the paths of c's fields to their values in JSON.
func flatten(c NodeConfiguration) map[string]any {
	data, err := json.Marshal(c)
	if err != nil {
		return nil // a factor that is not a number, which Validate refuses
	}
	var tree map[string]any
	if err := json.Unmarshal(data, &tree); err != nil {
		return nil
	}
	out := map[string]any{}
	flattenInto(out, "", tree)
	return out
}

func flattenInto(out map[string]any, prefix string, tree map[string]any) {
	for name, v := range tree {
		if sub, ok := v.(map[string]any); ok {
			flattenInto(out, prefix+name+".", sub)
			continue
		}
		out[prefix+name] = v
	}
}

// settle is how long after the first sign of a change the file is read, so that a burst is one change.
const settle = 100 * time.Millisecond

// Watch reads the file again whenever it changes, and whenever again says so (SIGHUP), until ctx is done. It calls
// onUpdate, one call at a time, when there is news compared to the running configuration or to the last update; after
// again it always does. It returns an error only when the file cannot be watched. Without a file it only waits.
func (f *Flags) Watch(ctx context.Context, running NodeConfiguration, again <-chan struct{}, onUpdate func(Update)) error {
	return f.watch(ctx, clock.RealClock{}, running, again, onUpdate)
}

func (f *Flags) watch(ctx context.Context, clk clock.Clock, running NodeConfiguration, again <-chan struct{}, onUpdate func(Update)) error {
	w := watch{flags: f, last: Update{Config: running}, onUpdate: onUpdate}
	var events chan fsnotify.Event
	var lost chan error
	if f.path != "" {
		watcher, err := fsnotify.NewWatcher()
		if err != nil {
			return err
		}
		defer watcher.Close() //nolint:errcheck // nothing was written
		// The directory, because most editors replace the file, and a mounted ConfigMap the link to its directory.
		if err := watcher.Add(filepath.Dir(f.path)); err != nil {
			return err
		}
		events, lost = watcher.Events, watcher.Errors
	}
	var settled <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-again:
			w.look(true)
		case <-settled:
			settled = nil
			w.look(false)
		case <-events:
			if settled == nil {
				settled = clk.After(settle)
			}
		case <-lost: //nolint:errcheck // whatever was lost, another look finds it
			if settled == nil {
				settled = clk.After(settle)
			}
		}
	}
}

// watch is the state of Watch.
type watch struct {
	flags    *Flags
	last     Update
	onUpdate func(Update)
}

func (w *watch) look(asked bool) {
	u := w.flags.Reload(w.last.Config)
	if asked || len(u.Changed) > 0 || !slices.Equal(u.NeedRestart, w.last.NeedRestart) || text(u.Err) != text(w.last.Err) {
		w.onUpdate(u)
	}
	w.last = u
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
