package wasi

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wazlet/wazlet/moduleactor/engine/rootfs"
)

// A directory is listed in windows, which have as many entries as the instance may, and no more.
func TestDirectoryEntries(t *testing.T) {
	host := t.TempDir()
	want := []string{".", ".."}
	for i := range 100 {
		name := strconv.Itoa(i)
		want = append(want, name)
		if err := os.WriteFile(filepath.Join(host, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	root, err := rootfs.Open(rootfs.Mount{Host: host}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	for limit, most := range map[int]int{0: DefaultDirectoryEntries, 16: 16, 7: 7} {
		in, err := New(Config{Root: root, DirectoryEntries: limit})
		if err != nil {
			t.Fatal(err)
		}
		in.Context(t.Context())
		d, ok := in.table.list[3].object.(*dir)
		if !ok {
			t.Fatalf("%T", in.table.list[3].object)
		}
		var got []string
		for n := uint64(0); ; n++ {
			e, ok, errno := d.entry(in, n)
			if errno != esuccess {
				t.Fatal(errno)
			}
			if !ok {
				break
			}
			if len(d.window) > most {
				t.Fatalf("%d entries in memory, want at most %d", len(d.window), most)
			}
			got = append(got, e.Name)
		}
		slices.Sort(got)
		if diff := cmp.Diff(slices.Sorted(slices.Values(want)), got); diff != "" {
			t.Errorf("limit %d: %s", limit, diff)
		}
		if err := in.Close(); err != nil {
			t.Error(err)
		}
	}
}
