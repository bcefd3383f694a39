package bundle

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestRemoveLeftovers: what a killed compiler left goes once it is old, wherever it is; what is in use stays.
func TestRemoveLeftovers(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	f := newFixture(t, t.TempDir(), func(c *Config) { c.Clock = clockAt(now) })
	for name, age := range map[string]time.Duration{
		".abc.ok123":            2 * time.Hour,
		"abc.ok":                2 * time.Hour,
		"abc/.rewritten-1":      2 * time.Hour,
		"abc/.rewritten-2":      30 * time.Minute, // may be being written
		"abc/rewritten-2-0-1":   2 * time.Hour,
		"abc/wazero/dead.7.tmp": time.Hour,
		"abc/wazero/new.8.tmp":  time.Minute,
		"abc/wazero/code":       2 * time.Hour,
	} {
		path := filepath.Join(f.cfg.CacheDir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, nil, 0o600), os.Chtimes(path, now.Add(-age), now.Add(-age))); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := f.RemoveLeftovers(); err != nil {
			t.Error(err)
		}
		var got []string
		err := filepath.WalkDir(f.cfg.CacheDir, func(path string, e fs.DirEntry, err error) error {
			if err == nil && !e.IsDir() {
				rel, _ := filepath.Rel(f.cfg.CacheDir, path)
				got = append(got, rel)
			}
			return err
		})
		want := []string{"abc/.rewritten-2", "abc/rewritten-2-0-1", "abc/wazero/code", "abc/wazero/new.8.tmp", "abc.ok"}
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%v %s", err, diff)
		}
	}
}

type clockAt time.Time

func (c clockAt) Now() time.Time { return time.Time(c) }
