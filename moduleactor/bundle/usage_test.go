package bundle

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestUsage(t *testing.T) {
	root := t.TempDir()
	f := newFixture(t, root, nil)
	p := f.start(0, "run")
	st := f.started(p)
	first, ok := f.Usage(p.id)
	if !ok || first.CPU <= 0 || first.MemoryBytes == 0 || first.RSSBytes == 0 || first.WorkingSetBytes != first.RSSBytes ||
		first.MemoryBytes < first.RSSBytes || first.PageFaults == 0 || first.At.IsZero() || !first.StartedAt.Equal(st.StartedAt) {
		t.Errorf("%+v, %t", first, ok)
	}
	// The next daemon measures the same process.
	_ = f.Close()
	if _, ok := f.Usage(p.id); ok {
		t.Error("a closed runtime measures")
	}
	next := newFixture(t, root, nil)
	if _, ok := next.Usage(p.id); ok {
		t.Error("an attempt is measured that was not adopted")
	}
	adopted, err := next.Adopt(t.Context(), p.id)
	if err != nil {
		t.Fatal(err)
	}
	next.started(adopted)
	second, ok := next.Usage(p.id)
	if !ok || second.CPU < first.CPU || !second.StartedAt.Equal(st.StartedAt) {
		t.Errorf("after a restart: %+v, %t; before: %+v", second, ok, first)
	}
	if err := adopted.Signal(true); err != nil {
		t.Fatal(err)
	}
	next.ended(adopted)
	if s, ok := next.Usage(p.id); ok {
		t.Errorf("of a dead process: %+v", s)
	}
}

// metered is a hierarchy that counts.
type metered struct {
	Cgroups

	dir    string // one that a shim can join: it has a cgroup.procs
	sample Sample
	err    error
}

func (m metered) Dirs(string) []string            { return []string{m.dir} }
func (metered) Create(string, Limits) error       { return nil }
func (metered) Usage([]string) Usage              { return Usage{} }
func (metered) Remove([]string) error             { return nil }
func (m metered) Sample([]string) (Sample, error) { return m.sample, m.err }

func TestUsageOfCgroup(t *testing.T) {
	want := Sample{CPU: 5, MemoryBytes: 4, WorkingSetBytes: 3, RSSBytes: 2, PageFaults: 1}
	for _, broken := range []error{nil, errors.New("gone")} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		f := newFixture(t, t.TempDir(), func(c *Config) { c.Cgroups = metered{dir: dir, sample: want, err: broken} })
		p := f.start(0, "silent")
		got, ok := f.Usage(p.id)
		if !ok || !got.StartedAt.IsZero() {
			t.Errorf("%+v, %t", got, ok)
		}
		if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(Sample{}, "At")); (diff == "") != (broken == nil) {
			t.Errorf("cgroup error %v: (-want +got):\n%s", broken, diff)
		}
	}
}

func TestParseProcess(t *testing.T) {
	page := uint64(os.Getpagesize())
	var s Sample
	if err := errors.Join(s.parseStatm([]byte("900 100 40 3 0 50 0\n")), s.parseFaults([]byte(statOf("a) b", "1")))); err != nil {
		t.Fatal(err)
	}
	want := Sample{MemoryBytes: 100 * page, WorkingSetBytes: 60 * page, RSSBytes: 60 * page, PageFaults: 5181}
	if diff := cmp.Diff(want, s); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if err := s.parseStatm([]byte("1 2 3")); err != nil || s.RSSBytes != 0 {
		t.Errorf("more shared than resident: %+v, %v", s, err)
	}
	for text, want := range map[string]string{
		"":                         "want 3 fields or more (got 0)",
		"1 x 3":                    `field 2: want pages (got "x")`,
		"1 2 -3":                   `field 3: want pages (got "-3")`,
		"1 99999999999999999999 1": "field 2",
	} {
		if err := s.parseStatm([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q in it", text, err, want)
		}
	}
}

func TestReadSmall(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, []byte("0123456789"), 0o600); err != nil {
		t.Fatal(err)
	}
	for size, want := range map[int]string{20: "0123456789", 4: "0123"} {
		if got, err := ReadSmall(path, make([]byte, size)); err != nil || string(got) != want {
			t.Errorf("into %d bytes: %q, %v", size, got, err)
		}
	}
	if _, err := ReadSmall(path+"x", nil); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if _, err := ReadSmall(filepath.Dir(path), make([]byte, 4)); err == nil {
		t.Error("a directory was read")
	}
}
