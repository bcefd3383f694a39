package image

import (
	"archive/tar"
	"bytes"
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// unpackInto unpacks layers into dir, which may exist.
func unpackInto(t testing.TB, dir string, limit int64, layers ...[]byte) error {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	u := newUntar(root, limit)
	for _, l := range layers {
		got, err := u.layer(context.Background(), bytes.NewReader(l))
		if err != nil {
			return err
		}
		if got != digestOf(l) {
			t.Errorf("diff id %s, want %s", got, digestOf(l))
		}
	}
	return nil
}

// contents maps each path to what is there.
func contents(t testing.TB, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		if err != nil || p == dir {
			return err
		}
		rel, _ := filepath.Rel(dir, p)
		switch {
		case e.IsDir():
			out[rel] = "dir"
		case e.Type()&fs.ModeSymlink != 0:
			target, _ := os.Readlink(p)
			out[rel] = "-> " + target
		default:
			b, _ := os.ReadFile(p)
			out[rel] = string(b)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestUntar(t *testing.T) {
	tests := map[string]struct {
		layers [][]file
		want   map[string]string
	}{
		"plain": {
			layers: [][]file{{{name: "./", kind: tar.TypeDir}, {name: "./a/", kind: tar.TypeDir}, {name: "./a/b", content: "x"}}},
			want:   map[string]string{"a": "dir", "a/b": "x"},
		},
		"absolute paths and missing parents": {
			layers: [][]file{{{name: "/a/b/c", content: "x"}, {name: "//d", content: "y"}}},
			want:   map[string]string{"a": "dir", "a/b": "dir", "a/b/c": "x", "d": "y"},
		},
		"upper layer wins": {
			layers: [][]file{{{name: "a", content: "1"}, {name: "d/x", content: "1"}}, {{name: "a", content: "2"}, {name: "d", content: "file now"}}},
			want:   map[string]string{"a": "2", "d": "file now"},
		},
		"file becomes a directory": {
			layers: [][]file{{{name: "a", content: "1"}}, {{name: "a", kind: tar.TypeDir}, {name: "a/b", content: "2"}}},
			want:   map[string]string{"a": "dir", "a/b": "2"},
		},
		"directory twice keeps its files": {
			layers: [][]file{{{name: "a/b", content: "1"}}, {{name: "a", kind: tar.TypeDir}}},
			want:   map[string]string{"a": "dir", "a/b": "1"},
		},
		"whiteout": {
			layers: [][]file{{{name: "a/b", content: "1"}, {name: "a/c/d", content: "1"}, {name: "k", content: "k"}}, {{name: "a/.wh.b"}, {name: "a/.wh.c"}, {name: ".wh.none"}}},
			want:   map[string]string{"a": "dir", "k": "k"},
		},
		"opaque directory": {
			layers: [][]file{
				{{name: "a/b", content: "1"}, {name: "a/s/t", content: "1"}, {name: "a/s/u", content: "1"}},
				{{name: "a/n", content: "2"}, {name: "a/s/u", content: "2"}, {name: "a/.wh..wh..opq"}, {name: "z/.wh..wh..opq"}},
			},
			want: map[string]string{"a": "dir", "a/n": "2", "a/s": "dir", "a/s/u": "2"},
		},
		"links are kept as they are": {
			layers: [][]file{{
				{name: "out", kind: tar.TypeSymlink, link: "/etc/passwd"},
				{name: "up", kind: tar.TypeSymlink, link: "../../x"},
				{name: "f", content: "x"},
				{name: "hard", kind: tar.TypeLink, link: "/f"},
			}},
			want: map[string]string{"out": "-> /etc/passwd", "up": "-> ../../x", "f": "x", "hard": "x"},
		},
		"a file replaces a link, not what it points to": {
			layers: [][]file{{{name: "victim", content: "v"}, {name: "l", kind: tar.TypeSymlink, link: "victim"}}, {{name: "l", content: "new"}}},
			want:   map[string]string{"victim": "v", "l": "new"},
		},
		"a directory replaces a link": {
			layers: [][]file{{{name: "real", kind: tar.TypeDir}, {name: "l", kind: tar.TypeSymlink, link: "real"}}, {{name: "l", kind: tar.TypeDir}, {name: "l/x", content: "1"}}},
			want:   map[string]string{"real": "dir", "l": "dir", "l/x": "1"},
		},
		"devices and fifos are left out": {
			layers: [][]file{{{name: "null", kind: tar.TypeChar}, {name: "sda", kind: tar.TypeBlock}, {name: "p", kind: tar.TypeFifo}, {name: "f", content: "x"}}},
			want:   map[string]string{"f": "x"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "root")
			var layers [][]byte
			for _, l := range tt.layers {
				layers = append(layers, tarOf(t, l...))
			}
			if err := unpackInto(t, dir, 1<<20, layers...); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, contents(t, dir)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestUntarModes(t *testing.T) {
	dir := t.TempDir()
	err := unpackInto(t, dir, 1<<20, tarOf(t,
		file{name: "suid", content: "x", mode: 0o6755}, file{name: "locked", content: "x", mode: 0o001}, file{name: "d", kind: tar.TypeDir, mode: 0o1555},
		file{name: "d/x", content: "y"}))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]fs.FileMode{"suid": 0o755, "locked": 0o401, "d": fs.ModeDir | 0o755} {
		info, err := os.Lstat(filepath.Join(dir, name))
		if err != nil || info.Mode() != want {
			t.Errorf("%s: mode %v, %v; want %v", name, info.Mode(), err, want)
		}
	}
	info, err := os.Stat(filepath.Join(dir, "suid"))
	if err != nil || info.ModTime().Unix() != 1_700_000_000 {
		t.Errorf("modification time %v, %v", info.ModTime(), err)
	}
}

// TestHostileTar: nothing is written outside the directory or through a link, and sizes are bounded.
func TestHostileTar(t *testing.T) {
	tests := map[string]struct {
		layers [][]file
		says   string
	}{
		"climbs out":            {[][]file{{{name: "../evil", content: "x"}}}, "leaves the image"},
		"climbs out in between": {[][]file{{{name: "a/../../evil", content: "x"}}}, "leaves the image"},
		"absolute climb":        {[][]file{{{name: "/../evil", content: "x"}}}, "leaves the image"},
		"through a link out": {
			[][]file{{{name: "l", kind: tar.TypeSymlink, link: "/tmp"}, {name: "l/evil", content: "x"}}}, `directory "l" is a symbolic link`,
		},
		"through a link of a lower layer": {
			[][]file{{{name: "l", kind: tar.TypeSymlink, link: ".."}}, {{name: "l/evil", content: "x"}}}, `directory "l" is a symbolic link`,
		},
		"through a link inside": {
			[][]file{{{name: "d/x", content: "x"}, {name: "l", kind: tar.TypeSymlink, link: "d"}, {name: "l/x", content: "y"}}}, `directory "l" is a symbolic link`,
		},
		"directory known, then a link": {
			[][]file{{{name: "d/x", content: "x"}, {name: "d", kind: tar.TypeSymlink, link: ".."}, {name: "d/evil", content: "y"}}}, `directory "d" is a symbolic link`,
		},
		"below a file":                 {[][]file{{{name: "f", content: "x"}, {name: "f/g", content: "x"}}}, `directory "f" is a file`},
		"hard link out":                {[][]file{{{name: "h", kind: tar.TypeLink, link: "../../etc/passwd"}}}, "leaves the image"},
		"hard link to what is not":     {[][]file{{{name: "h", kind: tar.TypeLink, link: "/etc/passwd"}}}, "is not in the image"},
		"hard link through a link":     {[][]file{{{name: "l", kind: tar.TypeSymlink, link: "/etc"}, {name: "h", kind: tar.TypeLink, link: "l/passwd"}}}, `directory "l" is a symbolic link`},
		"hard link to a link":          {[][]file{{{name: "l", kind: tar.TypeSymlink, link: "/etc/passwd"}, {name: "h", kind: tar.TypeLink, link: "l"}}}, "not a regular file"},
		"hard link to a directory":     {[][]file{{{name: "d", kind: tar.TypeDir}, {name: "h", kind: tar.TypeLink, link: "d"}}}, "not a regular file"},
		"whiteout through a link":      {[][]file{{{name: "l", kind: tar.TypeSymlink, link: ".."}}, {{name: "l/.wh.keep"}}}, "symbolic link"},
		"opaque through a link":        {[][]file{{{name: "l", kind: tar.TypeSymlink, link: ".."}}, {{name: "l/.wh..wh..opq"}}}, "symbolic link"},
		"whiteout of nothing":          {[][]file{{{name: "a/.wh."}}}, "whiteout without a name"},
		"whiteout of the parent":       {[][]file{{{name: "a/.wh..."}}}, "whiteout without a name"},
		"empty link":                   {[][]file{{{name: "l", kind: tar.TypeSymlink}}}, "target is empty"},
		"long path":                    {[][]file{{{name: strings.Repeat("a/", maxPath/2) + "x"}}}, "more than 4096 bytes"},
		"deep path":                    {[][]file{{{name: strings.Repeat("a/", maxDepth) + "x"}}}, "deeper than 200"},
		"too large":                    {[][]file{{{name: "a", content: strings.Repeat("x", 700_000)}, {name: "b", content: strings.Repeat("x", 700_000)}}}, "too large when unpacked"},
		"too large by copies of links": {[][]file{{{name: "a", content: strings.Repeat("x", 700_000)}, {name: "b", kind: tar.TypeLink, link: "a"}}}, "too large when unpacked"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			outer := t.TempDir()
			if err := os.WriteFile(filepath.Join(outer, "keep"), []byte("k"), 0o600); err != nil {
				t.Fatal(err)
			}
			var layers [][]byte
			for _, l := range tt.layers {
				layers = append(layers, tarOf(t, l...))
			}
			err := unpackInto(t, filepath.Join(outer, "root"), 1<<20, layers...)
			if err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("error is %v, want one that says %q", err, tt.says)
			}
			names, err := os.ReadDir(outer)
			if err != nil || len(names) != 2 {
				t.Errorf("beside the directory there is %v (%v), want nothing new", names, err)
			}
		})
	}
	t.Run("too many", func(t *testing.T) {
		root, err := os.OpenRoot(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		defer root.Close()
		u := newUntar(root, 1<<20)
		u.entries = 2
		_, err = u.layer(t.Context(), bytes.NewReader(tarOf(t, file{name: "a"}, file{name: "b"}, file{name: "b"})))
		if err == nil || !strings.Contains(err.Error(), "more than 100000 files") {
			t.Errorf("error is %v", err)
		}
	})
	t.Run("truncated", func(t *testing.T) {
		whole := tarOf(t, file{name: "a", content: strings.Repeat("x", 5000)})
		if err := unpackInto(t, t.TempDir(), 1<<20, whole[:3000]); err == nil {
			t.Error("half a tar is accepted")
		}
	})
	t.Run("bomb", func(t *testing.T) {
		reg := plainRegistry(t)
		ref, _ := reg.push(t, "bomb:v1", tarImage(t, entrypointConfig, tarOf(t, file{name: "app.wasm", content: string(make([]byte, 4<<20))})))
		s := openStore(t, func(c *Config) { c.MaxImageBytes = 1 << 20 })
		_, err := s.Ensure(t.Context(), ref, IfNotPresent)
		if err == nil || !strings.Contains(err.Error(), "too large when unpacked") {
			t.Errorf("error is %v", err)
		}
		if names, err := os.ReadDir(s.disk.ingest()); err != nil || len(names) != 0 {
			t.Errorf("left in ingest: %v, %v", names, err)
		}
	})
}

// TestEntrypointLinks: an entrypoint may be a link, as in any container, and never leads out of the image.
func TestEntrypointLinks(t *testing.T) {
	tests := map[string]struct {
		files []file
		entry string
		dir   string
		want  string // path in the image, empty: refused
	}{
		"relative link":     {files: []file{{name: "bin/x.wasm"}, {name: "app.wasm", kind: tar.TypeSymlink, link: "bin/x.wasm"}}, entry: "/app.wasm", want: "bin/x.wasm"},
		"absolute link":     {files: []file{{name: "bin/x.wasm"}, {name: "app.wasm", kind: tar.TypeSymlink, link: "/bin/x.wasm"}}, entry: "/app.wasm", want: "bin/x.wasm"},
		"linked directory":  {files: []file{{name: "usr/bin/x.wasm"}, {name: "bin", kind: tar.TypeSymlink, link: "usr/bin"}}, entry: "/bin/x.wasm", want: "usr/bin/x.wasm"},
		"link above root":   {files: []file{{name: "x.wasm"}, {name: "app.wasm", kind: tar.TypeSymlink, link: "../../x.wasm"}}, entry: "/app.wasm", want: "x.wasm"},
		"link to the host":  {files: []file{{name: "app.wasm", kind: tar.TypeSymlink, link: "/etc/passwd"}}, entry: "/app.wasm"},
		"loop":              {files: []file{{name: "app.wasm", kind: tar.TypeSymlink, link: "app.wasm"}}, entry: "/app.wasm"},
		"directory":         {files: []file{{name: "app.wasm", kind: tar.TypeDir}}, entry: "/app.wasm"},
		"in the workingDir": {files: []file{{name: "srv/app.wasm"}}, entry: "app.wasm", dir: "/srv", want: "srv/app.wasm"},
		"relative to /":     {files: []file{{name: "app.wasm"}}, entry: "./app.wasm", dir: "/srv", want: "app.wasm"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := unpackInto(t, dir, 1<<20, tarOf(t, tt.files...)); err != nil {
				t.Fatal(err)
			}
			root, err := os.OpenRoot(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer root.Close()
			var c config
			c.Config.Entrypoint, c.Config.WorkingDir = []string{tt.entry}, tt.dir
			got, err := findModule(root, c)
			if got != tt.want || (tt.want == "") != (err != nil) {
				t.Errorf("found %q, %v; want %q", got, err, tt.want)
			}
		})
	}
}

// FuzzUntar: whatever the bytes are, nothing appears beside the directory.
func FuzzUntar(f *testing.F) {
	f.Add(tarOf(f, file{name: "a/b", content: "x"}, file{name: "l", kind: tar.TypeSymlink, link: ".."}, file{name: "l/x", content: "y"}))
	f.Add(tarOf(f, file{name: "a/.wh..wh..opq"}, file{name: ".wh.x"}, file{name: "h", kind: tar.TypeLink, link: "a"}))
	f.Add(tarOf(f, file{name: "../x"}, file{name: "d", kind: tar.TypeDir, mode: 0o7000}))
	f.Fuzz(func(t *testing.T, b []byte) {
		outer := t.TempDir()
		dir := filepath.Join(outer, "root")
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		root, err := os.OpenRoot(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer root.Close()
		u := newUntar(root, 1<<16)
		u.synced = maxSyncs                             // syncing is what takes time
		_, _ = u.layer(t.Context(), bytes.NewReader(b)) // an error or not, but no escape
		names, err := os.ReadDir(outer)
		if err != nil || len(names) != 1 {
			t.Fatalf("beside the directory there is %v (%v)", names, err)
		}
		if n := treeSize(dir); n > 1<<20 {
			t.Errorf("%d bytes were unpacked", n)
		}
	})
}
