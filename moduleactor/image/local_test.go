package image

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"
)

func TestImport(t *testing.T) {
	s := openStore(t)
	wasm := writeFile(t, "app.wasm", string(coreModule))
	got, err := s.Import(t.Context(), wasm, "hello:dev")
	if err != nil {
		t.Fatal(err)
	}
	img := mustEnsure(t, s, "docker.io/library/hello:dev", Never)
	if img.ID != got.ID || img.Digest != digestOf(coreModule) || img.Name != "app.wasm" || img.Format != FormatCNCF || !got.Imported {
		t.Errorf("imported %+v, ensured %+v", got, img)
	}
	if diff := cmp.Diff(coreModule, readFile(t, img.Module)); diff != "" {
		t.Error(diff)
	}
	// Importing again replaces, and the same content gives the same ID.
	again, err := s.Import(t.Context(), wasm, "hello:dev")
	if err != nil || again.ID != got.ID {
		t.Errorf("imported again: %+v, %v", again, err)
	}
	other, err := s.Import(t.Context(), writeFile(t, "app.wasm", string(otherModule("x"))), "hello:dev")
	if err != nil || other.ID == got.ID {
		t.Errorf("another module: %+v, %v", other, err)
	}
	list, err := s.List()
	if err != nil || len(list) != 1 || list[0].Ref != "docker.io/library/hello:dev" || list[0].Digest != digestOf(otherModule("x")) {
		t.Errorf("list: %+v, %v", list, err)
	}
}

func TestImportRefuses(t *testing.T) {
	s := openStore(t, func(c *Config) { c.MaxImageBytes = 100 })
	for name, tt := range map[string]struct{ content, ref, says string }{
		"component": {string(componentModule), "x:v1", "a WebAssembly component"},
		"text":      {"(module)", "x:v1", ".wat"},
		"digest":    {string(coreModule), "x@sha256:" + strings.Repeat("0", 64), "has a digest"},
		"bad name":  {string(coreModule), "X", "couldn't parse image name"},
		"too large": {string(bigModule(200)), "x:v1", "larger than 100 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := s.Import(t.Context(), writeFile(t, "app.wasm", tt.content), tt.ref)
			if err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("error is %v, want one that says %q", err, tt.says)
			}
		})
	}
	if _, err := s.Import(t.Context(), "/nonexistent.wasm", "x:v1"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no such file: %v", err)
	}
	if list, err := s.List(); err != nil || len(list) != 0 {
		t.Errorf("list: %+v, %v", list, err)
	}
}

// TestLayout reads the store with other people's code: it is an OCI image layout, and everything in it is valid.
func TestLayout(t *testing.T) {
	reg := plainRegistry(t)
	s := openStore(t)
	refs := []string{}
	for name, x := range map[string]fixture{
		"f1": cncf(coreModule), "f2": wasmToOCI(coreModule),
		"f5": tarImage(t, `{"architecture":"wasm","os":"wasi","config":{"Entrypoint":["/app.wasm"]},"rootfs":{"type":"layers","diff_ids":["`+
			digestOf(tarOf(t, file{name: "app.wasm", content: string(coreModule)}))+`"]}}`, tarOf(t, file{name: "app.wasm", content: string(coreModule)})),
	} {
		ref, _ := reg.push(t, name+":v1", x)
		mustEnsure(t, s, ref, IfNotPresent)
		refs = append(refs, ref)
	}
	idx, err := layout.ImageIndexFromPath(s.disk.dir)
	if err != nil {
		t.Fatal(err)
	}
	m, err := idx.IndexManifest()
	if err != nil || len(m.Manifests) != len(refs) {
		t.Fatalf("index: %+v, %v", m, err)
	}
	for _, d := range m.Manifests {
		img, err := idx.Image(d.Digest)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(d.Annotations[annotationRef], "/f5:") {
			if err := validate.Image(img); err != nil {
				t.Error(err)
			}
			continue
		}
		layers, err := img.Layers() // an artifact's config is no image config, which validate.Image wants
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range layers {
			rc, err := l.Compressed()
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(rc)
			if err := errors.Join(err, rc.Close()); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(coreModule, got); diff != "" {
				t.Error(diff)
			}
		}
	}
}

func TestRemove(t *testing.T) {
	reg := plainRegistry(t)
	s := openStore(t)
	one, digest := reg.push(t, "hello:v1", cncf(coreModule))
	two, _ := reg.push(t, "hello:v2", cncf(coreModule))
	three, _ := reg.push(t, "other:v1", wasmToOCI(coreModule)) // shares the layer
	for _, ref := range []string{one, two, three} {
		mustEnsure(t, s, ref, IfNotPresent)
	}
	remove := func(ref string) {
		t.Helper()
		if err := s.Remove(ref); err != nil {
			t.Fatal(err)
		}
	}
	remove(one)
	mustEnsure(t, s, two, Never)
	remove(reg.host + "/hello@" + digest) // by content: whatever stands for it
	if _, err := s.Ensure(t.Context(), two, Never); reasonOf(t, err) != ErrImageNeverPull {
		t.Errorf("removed by digest: %v", err)
	}
	img := mustEnsure(t, s, three, Never)
	if diff := cmp.Diff(coreModule, readFile(t, img.Module)); diff != "" {
		t.Error(diff)
	}
	if err := s.Remove(one); !errors.Is(err, ErrNotFound) {
		t.Errorf("removed twice: %v", err)
	}
	remove(three)
	for _, dir := range []string{s.disk.ingest(), filepath.Join(s.disk.dir, "images"), filepath.Join(s.disk.dir, "blobs", "sha256")} {
		if names, err := os.ReadDir(dir); err != nil || len(names) != 0 {
			t.Errorf("%s: %v, %v; want nothing", dir, names, err)
		}
	}
	if err := s.Remove("UPPER"); err == nil || reasonOf(t, err) != InvalidImageName {
		t.Errorf("bad name: %v", err)
	}
}

// TestCollect frees what is not used, least recently used first, and no more than it must.
func TestCollect(t *testing.T) {
	reg := plainRegistry(t)
	start := time.Now()
	fake := clocktesting.NewFakeClock(start)
	var free uint64
	s := openStore(t, func(c *Config) {
		c.Clock = fake
		c.Statfs = func(string) (uint64, uint64, error) { return 1_000_000, free, nil }
	})
	const size = 100_000
	refs := map[string]string{}
	digests := map[string]string{}
	for i, name := range []string{"oldest", "older", "used", "recent"} {
		m := bigModule(size + i)
		ref, _ := reg.push(t, name+":v1", cncf(m))
		refs[name], digests[name] = ref, digestOf(m)
		fake.SetTime(start.Add(time.Duration(i) * time.Hour))
		mustEnsure(t, s, ref, IfNotPresent)
	}
	fake.SetTime(start.Add(5 * time.Hour))
	mustEnsure(t, s, refs["oldest"], Never) // now the least recently used is "older"
	fake.SetTime(start.Add(10 * time.Hour))
	if _, err := s.Import(t.Context(), writeFile(t, "i.wasm", string(bigModule(size+9))), "imported:v1"); err != nil {
		t.Fatal(err)
	}
	fake.SetTime(start.Add(20 * time.Hour))
	mustEnsure(t, s, refs["recent"], Never)
	fake.SetTime(start.Add(20*time.Hour + time.Minute)) // within MinAge of its last use
	inUse := func(d string) bool { return d == digests["used"] }

	free = 300_000
	if c, err := s.Collect(t.Context(), inUse, 85, 80); err != nil || c.Bytes != 0 {
		t.Errorf("below high: %+v, %v; want nothing", c, err)
	}
	free = 150_000 // 85 % used: free 50,000 bytes
	c, err := s.Collect(t.Context(), inUse, 85, 80)
	if err != nil || len(c.Images) != 1 || c.Images[0] != refs["older"] || c.Bytes < size {
		t.Errorf("at high: %+v, %v; want %s", c, err, refs["older"])
	}
	part := filepath.Join(s.disk.ingest(), strings.Repeat("0", 64)+".part")
	if err := os.WriteFile(part, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	free = 0
	c, err = s.Collect(t.Context(), inUse, 85, 80)
	if err == nil || !strings.Contains(err.Error(), "eligible to free") || len(c.Images) != 1 || c.Images[0] != refs["oldest"] {
		t.Errorf("full: %+v, %v; want %s and that it is not enough", c, err, refs["oldest"])
	}
	if exists(part) {
		t.Error("an abandoned download outlived a full disk")
	}
	for _, ref := range []string{refs["used"], refs["recent"], "imported:v1"} {
		mustEnsure(t, s, ref, Never)
	}
	if _, err := s.Collect(t.Context(), inUse, 80, 90); err == nil {
		t.Error("low above high is accepted")
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Collect(canceled, inUse, 85, 80); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
}

// TestSweep: what interrupted processes left is deleted once it is old, unless somebody still works on it.
func TestSweep(t *testing.T) {
	s := openStore(t)
	old := time.Now().Add(-25 * time.Hour)
	put := func(path string, when time.Time) string {
		t.Helper()
		if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, when, when); err != nil {
			t.Fatal(err)
		}
		return path
	}
	zeros, ones := strings.Repeat("0", 64), strings.Repeat("1", 64)
	gone := []string{
		put(filepath.Join(s.disk.ingest(), zeros+".part"), old), put(filepath.Join(s.disk.ingest(), ".index.json123"), old),
		put(s.disk.blob(zeros), old), put(filepath.Join(s.disk.ingest(), "trash-x"), time.Now()),
	}
	kept := []string{put(filepath.Join(s.disk.ingest(), ones+".part"), time.Now()), put(s.disk.blob(ones), time.Now())}
	busy, err := s.disk.openPartial("busy")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.close()
	kept = append(kept, put(busy.f.Name(), old))
	dir, hold, err := s.disk.tempDir("unpack-")
	if err != nil {
		t.Fatal(err)
	}
	defer hold.Close()
	if err := os.Chtimes(dir, old, old); err != nil {
		t.Fatal(err)
	}
	kept = append(kept, dir)

	again := openStore(t, func(c *Config) { c.Dir = s.disk.dir })
	for _, path := range gone {
		if exists(path) {
			t.Errorf("%s is still there", path)
		}
	}
	for _, path := range kept {
		if !exists(path) {
			t.Errorf("%s is gone", path)
		}
	}
	if err := hold.Close(); err != nil {
		t.Fatal(err)
	}
	if err := again.disk.sweep(clock.RealClock{}.Now()); err != nil || exists(dir) {
		t.Errorf("an abandoned directory is still there (%v)", err)
	}
}

const childDir = "WAZLET_IMAGE_TEST_DIR"

// TestTwoProcesses imports from two processes at once; no reference is lost.
func TestTwoProcesses(t *testing.T) {
	dir := os.Getenv(childDir)
	prefix := "child"
	if dir == "" {
		dir, prefix = filepath.Join(t.TempDir(), "images"), "parent"
	}
	s := openStore(t, func(c *Config) { c.Dir = dir })
	var wg sync.WaitGroup
	if prefix == "parent" {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestTwoProcesses$")
		cmd.Env = append(os.Environ(), childDir+"="+dir)
		wg.Go(func() {
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("child: %v\n%s", err, out)
			}
		})
	}
	const each = 20
	for i := range each {
		name := prefix + string(rune('a'+i))
		if _, err := s.Import(t.Context(), writeFile(t, "m.wasm", string(otherModule(name[:3]+string(rune('a'+i))))), name+":v1"); err != nil {
			t.Fatal(err)
		}
	}
	wg.Wait()
	if list, err := s.List(); prefix == "parent" && (err != nil || len(list) != 2*each) {
		t.Errorf("%d references, %v; want %d", len(list), err, 2*each)
	}
}

// TestKilled kills a process that imports without end, again and again; the store is whole after each time.
func TestKilled(t *testing.T) {
	if dir := os.Getenv(childDir); dir != "" {
		s := openStore(t, func(c *Config) { c.Dir = dir })
		for i := 0; ; i++ {
			m := writeFile(t, "m.wasm", string(otherModule(string(rune('a'+i%26)))))
			if _, err := s.Import(t.Context(), m, "k"+string(rune('a'+i%5))+":v1"); err != nil {
				t.Fatal(err)
			}
			if i%3 == 2 {
				if err := s.Remove("k" + string(rune('a'+i%5)) + ":v1"); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	dir := filepath.Join(t.TempDir(), "images")
	for range 8 {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKilled$")
		cmd.Env = append(os.Environ(), childDir+"="+dir)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		seen := time.Time{}
		eventually(t, "the child changes the index", func() bool {
			info, err := os.Stat(filepath.Join(dir, "index.json"))
			if err == nil && seen.IsZero() {
				seen = info.ModTime()
			}
			return err == nil && !info.ModTime().Equal(seen)
		})
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // killed
		s := openStore(t, func(c *Config) { c.Dir = dir })
		list, err := s.List()
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range list {
			img := mustEnsure(t, s, e.Ref, Never)
			if got, _, err := digestFile(img.Module); err != nil || got != img.Digest {
				t.Errorf("%s: module has digest %s (%v), want %s", e.Ref, got, err, img.Digest)
			}
		}
	}
}

func TestStatfs(t *testing.T) {
	total, free, err := statfs(t.TempDir())
	if err != nil || total == 0 || free > total {
		t.Errorf("total %d, free %d, %v", total, free, err)
	}
	if _, _, err := statfs("/nonexistent"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no such directory: %v", err)
	}
}

// TestForeignIndex: entries of other tools are not ours to list, and not taken for images.
func TestForeignIndex(t *testing.T) {
	s := openStore(t)
	index := `{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"` + digestOf(nil) + `","size":1}]}`
	if err := os.WriteFile(s.disk.index(), []byte(index), 0o600); err != nil {
		t.Fatal(err)
	}
	if list, err := s.List(); err != nil || len(list) != 0 {
		t.Errorf("list %v, %v", list, err)
	}
}
