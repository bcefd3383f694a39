package registry

import (
	"bytes"
	"encoding/json"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"
	crane "github.com/google/go-containerregistry/cmd/crane/cmd"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"
	"github.com/vbauerster/mpb/v8"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/wazlet/wazlet/moduleactor/engine/wasm"
	"github.com/wazlet/wazlet/moduleactor/image"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	// hello exports _start and imports proc_exit.
	hello = "\x00asm\x01\x00\x00\x00" +
		"\x01\x08\x02\x60\x00\x00\x60\x01\x7f\x00" +
		"\x02\x24\x01\x16wasi_snapshot_preview1\x09proc_exit\x00\x01" +
		"\x03\x02\x01\x00" + "\x07\x0a\x01\x06_start\x00\x01" + "\x0a\x04\x01\x02\x00\x0b"
	component = "\x00asm\x0d\x00\x01\x00"
)

// world is a registry, and a directory with files.
type world struct {
	host string
	dir  string
}

func newWorld(t *testing.T) world {
	t.Helper()
	s := httptest.NewServer(registry.New(registry.Logger(zap.NewStdLog(zap.NewNop()))))
	t.Cleanup(s.Close)
	w := world{host: strings.TrimPrefix(s.URL, "http://"), dir: t.TempDir()}
	t.Chdir(w.dir)
	t.Setenv("DOCKER_CONFIG", w.dir)
	for name, content := range map[string]string{"hello.wasm": hello, "component.wasm": component, "hello.wat": "(module)"} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		when := time.Unix(1_700_000_000, 0)
		if err := os.Chtimes(name, when, when); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// execute runs a command line of `wazlet` in this process.
func execute(t *testing.T, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	root := &cobra.Command{Use: "wazlet", SilenceErrors: true, SilenceUsage: true}
	root.AddCommand(Commands()...)
	return run(t, root, args...)
}

func run(t *testing.T, root *cobra.Command, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	var out, errOut bytes.Buffer
	root.SetOut(&out)
	root.SetErr(&errOut)
	root.SetArgs(args)
	err = root.ExecuteContext(t.Context())
	return out.String(), errOut.String(), err
}

func must(t *testing.T, args ...string) string {
	t.Helper()
	out, errOut, err := execute(t, args...)
	if err != nil {
		t.Fatalf("wazlet %s: %v\n%s", strings.Join(args, " "), err, errOut)
	}
	return out
}

// craneCLI runs the crane command line in this process.
func craneCLI(t *testing.T, args ...string) string {
	t.Helper()
	out, errOut, err := run(t, crane.New("crane", "", nil), args...)
	if err != nil {
		t.Fatalf("crane %s: %v\n%s", strings.Join(args, " "), err, errOut)
	}
	return out
}

func sum(s string) string { return digest.FromString(s).String() }

// TestPushIsReadByCrane: what we push, the crane CLI reads.
func TestPushIsReadByCrane(t *testing.T) {
	w := newWorld(t)
	tests := map[string]struct {
		args                          []string
		configType, layerType, config string
	}{
		"cncf": {
			nil, "application/vnd.wasm.config.v0+json", "application/wasm",
			`{"created":"2023-11-14T22:13:20Z","architecture":"wasm","os":"wasip1","layerDigests":["` + sum(hello) + `"]}`,
		},
		"cncf-no-time": {
			[]string{"--no-created"},
			"application/vnd.wasm.config.v0+json", "application/wasm",
			`{"architecture":"wasm","os":"wasip1","layerDigests":["` + sum(hello) + `"]}`,
		},
		"wasm-to-oci": {
			[]string{"--format", "wasm-to-oci"}, "application/vnd.wasm.config.v1+json", "application/vnd.wasm.content.layer.v1+wasm", `{}`,
		},
	}
	for repo, tt := range tests {
		t.Run(repo, func(t *testing.T) {
			ref := w.host + "/" + repo + ":v1"
			id := strings.TrimSpace(must(t, append([]string{"push", "hello.wasm", ref, "--annotation", "k=v=w"}, tt.args...)...))
			if want := w.host + "/" + repo + "@" + strings.TrimSpace(craneCLI(t, "digest", ref)); id != want {
				t.Errorf("push printed %q, want %q", id, want)
			}
			var m v1.Manifest
			if err := json.Unmarshal([]byte(craneCLI(t, "manifest", ref)), &m); err != nil {
				t.Fatal(err)
			}
			got := []string{string(m.Config.MediaType), string(m.Layers[0].MediaType), m.Layers[0].Digest.String(), m.Annotations["k"]}
			if diff := cmp.Diff([]string{tt.configType, tt.layerType, sum(hello), "v=w"}, got); diff != "" {
				t.Errorf("manifest (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.config, craneCLI(t, "config", ref)); diff != "" {
				t.Errorf("config (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(hello, craneCLI(t, "blob", w.host+"/"+repo+"@"+sum(hello))); diff != "" {
				t.Errorf("module (-want +got):\n%s", diff)
			}
			if tags := craneCLI(t, "ls", w.host+"/"+repo); strings.TrimSpace(tags) != "v1" {
				t.Errorf("tags %q", tags)
			}
			if diff := cmp.Diff(hello, must(t, "pull", ref, "-o", "-")); diff != "" {
				t.Errorf("pulled back (-want +got):\n%s", diff)
			}
		})
	}
}

// rawManifest is a manifest as it is, in ggcr's terms.
type rawManifest string

func (r rawManifest) RawManifest() ([]byte, error)        { return []byte(r), nil }
func (r rawManifest) MediaType() (types.MediaType, error) { return types.OCIManifestSchema1, nil }

// pushLikeWasmToOCI writes an image exactly as wasm-to-oci does.
func pushLikeWasmToOCI(t *testing.T, ref, module string) {
	t.Helper()
	tag, err := name.NewTag(ref)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range []v1.Layer{
		static.NewLayer([]byte("{}"), "application/vnd.wasm.config.v1+json"),
		static.NewLayer([]byte(module), "application/vnd.wasm.content.layer.v1+wasm"),
	} {
		if err := remote.WriteLayer(tag.Context(), l); err != nil {
			t.Fatal(err)
		}
	}
	size, err := json.Marshal(len(module))
	if err != nil {
		t.Fatal(err)
	}
	m := `{"schemaVersion":2,"config":{"mediaType":"application/vnd.wasm.config.v1+json","digest":"` + sum("{}") + `","size":2},` +
		`"layers":[{"mediaType":"application/vnd.wasm.content.layer.v1+wasm","digest":"` + sum(module) + `","size":` + string(size) +
		`,"annotations":{"org.opencontainers.image.title":"hello.wasm"}}]}`
	if err := remote.Put(tag, rawManifest(m)); err != nil {
		t.Fatal(err)
	}
}

// TestPullOfWasmToOCI: what wasm-to-oci pushed, we read.
func TestPullOfWasmToOCI(t *testing.T) {
	w := newWorld(t)
	ref := w.host + "/demo:v1"
	pushLikeWasmToOCI(t, ref, hello)
	out, errOut, err := execute(t, "pull", ref, "-o", "out.wasm")
	if err != nil {
		t.Fatal(err)
	}
	if out != "out.wasm\n" || !strings.Contains(errOut, "(wasm-to-oci, 78 B)") {
		t.Errorf("stdout %q, stderr %q", out, errOut)
	}
	b, err := os.ReadFile("out.wasm")
	if err != nil || string(b) != hello {
		t.Errorf("out.wasm: %q, %v", b, err)
	}
	if _, _, err := execute(t, "pull", ref); err == nil || !strings.Contains(err.Error(), "hello.wasm exists already; name another with -o") {
		t.Errorf("pull over a file: %v", err)
	}
}

const wantText = `Reference:    hello.wasm
Format:       file
Module:       MODULE
Kind:         core module
Module size:  78 B
WASI:         preview1
Functions:    1
Runs here:    yes
Imports:      1
  wasi_snapshot_preview1.proc_exit  func (i32)
Exports:      1
  _start                            func ()
`

func TestInspectFile(t *testing.T) {
	newWorld(t)
	got := must(t, "inspect", "hello.wasm")
	if diff := cmp.Diff(squeeze(strings.ReplaceAll(wantText, "MODULE", sum(hello))), squeeze(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for file, says := range map[string]string{"component.wasm": "wasm32-wasip1", "hello.wat": "wat2wasm"} {
		if got := must(t, "inspect", file); !strings.Contains(got, "Runs here") || !strings.Contains(got, "no: ") || !strings.Contains(got, says) {
			t.Errorf("%s: %s; want that it does not run and %q", file, got, says)
		}
	}
}

// squeeze makes runs of spaces one: how wide a column is, is not the point.
func squeeze(s string) string {
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		lines[i] = strings.Join(strings.Fields(l), " ")
	}
	return strings.Join(lines, "\n")
}

// TestDescribeIsHarmless: what an image says of itself must not reach the terminal as it is.
func TestDescribeIsHarmless(t *testing.T) {
	const evil = "\x1b]0;x\a\u009b2J\u202e\nRuns here: yes"
	var out strings.Builder
	err := describe(&out, image.Details{
		Ref: evil, Platform: evil, Entrypoint: []string{evil}, Cmd: []string{evil}, Problems: []string{evil, "second"},
		Module: &wasm.Module{Name: evil, Imports: []wasm.Import{{Module: evil, Name: evil}}, Exports: []wasm.Export{{Name: evil}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for l := range strings.SplitSeq(out.String(), "\n") {
		if strings.ContainsFunc(l, func(r rune) bool { return !unicode.IsPrint(r) }) || strings.HasPrefix(l, "Runs here: yes") {
			t.Errorf("printed %q", l)
		}
	}
	if !slices.Contains(strings.Split(squeeze(out.String()), "\n"), "second") {
		t.Errorf("lacks the second problem:\n%s", &out)
	}
}

func TestInspectImage(t *testing.T) {
	w := newWorld(t)
	root := filepath.Join(w.dir, "root")
	ref := w.host + "/hello:v1"
	id := strings.TrimSpace(must(t, "push", "hello.wasm", ref))
	var d image.Details
	if err := json.Unmarshal([]byte(must(t, "inspect", ref, "-o", "json", "--root-dir", root)), &d); err != nil {
		t.Fatal(err)
	}
	if d.ID != id || !d.Runs || d.Digest != sum(hello) || d.Format != image.FormatCNCF || d.Platform != "wasip1/wasm" || string(d.Module.WASI) != "preview1" {
		t.Errorf("from the registry: %+v", d)
	}
	// In the store the name may mean something else; --remote asks the registry.
	must(t, "image", "import", "hello.wasm", "--name", ref, "--root-dir", root)
	if got := must(t, "inspect", ref, "--root-dir", root); strings.Contains(got, id) {
		t.Errorf("from the store: %s; want another ID than %s, which has a time", got, id)
	}
	if got := must(t, "inspect", ref, "--root-dir", root, "--remote"); !strings.Contains(got, id) {
		t.Errorf("with --remote: %s; want ID %s", got, id)
	}
	pushLikeWasmToOCI(t, w.host+"/component:v1", component)
	if got := must(t, "inspect", w.host+"/component:v1", "--root-dir", root); !strings.Contains(got, "a WebAssembly component") {
		t.Errorf("component: %s", got)
	}
}

func TestImages(t *testing.T) {
	w := newWorld(t)
	root := filepath.Join(w.dir, "root")
	if got := must(t, "image", "ls", "-o", "json", "--root-dir", root); got != "[]\n" {
		t.Errorf("empty list: %q", got)
	}
	id := strings.TrimSpace(must(t, "image", "--root-dir", root, "import", "hello.wasm", "--name", "hello:dev"))
	must(t, "image", "import", "hello.wasm", "--name", "ghcr.io/me/hello:v1", "--root-dir", root)
	var list []image.Stored
	if err := json.Unmarshal([]byte(must(t, "image", "ls", "-o", "json", "--root-dir", root)), &list); err != nil {
		t.Fatal(err)
	}
	if len(list) != 2 || list[0].Ref != "docker.io/library/hello:dev" || list[0].ID != id || !list[0].Imported || list[1].Ref != "ghcr.io/me/hello:v1" {
		t.Errorf("list %+v", list)
	}
	text := must(t, "image", "ls", "--root-dir", root)
	for _, want := range []string{"REFERENCE", "docker.io/library/hello:dev", sum(hello)[:19], "cncf", "78 B"} {
		if !strings.Contains(text, want) {
			t.Errorf("table lacks %q:\n%s", want, text)
		}
	}
	out, _, err := execute(t, "image", "rm", "hello:dev", "none:v1", "ghcr.io/me/hello:v1", "--root-dir", root)
	if out != "hello:dev\nghcr.io/me/hello:v1\n" || err == nil || !strings.Contains(err.Error(), "remove none:v1: image not found") {
		t.Errorf("rm: %q, %v", out, err)
	}
	if got := must(t, "image", "ls", "-o", "json", "--root-dir", root); got != "[]\n" {
		t.Errorf("after rm: %q", got)
	}
}

func TestErrors(t *testing.T) {
	w := newWorld(t)
	if err := os.WriteFile("blocked", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for line, says := range map[string]string{
		"push hello.wasm":                                             "accepts 2 arg(s), received 1",
		"push hello.wasm HOST/x:v1 --format spin":                     `--format: unknown format "spin" (allowed: cncf, wasm-to-oci)`,
		"push hello.wasm HOST/x:v1 --annotation a":                    `--annotation: need KEY=VALUE (got "a")`,
		"push hello.wasm HOST/x:v1 --annotation a=1 --annotation a=2": `--annotation: "a" is given twice`,
		"push none.wasm HOST/x:v1":                                    "no such file",
		"push component.wasm HOST/x:v1":                               "a WebAssembly component",
		"push hello.wasm UPPER":                                       "couldn't parse image name",
		"pull HOST/none:v1":                                           "not found",
		"pull HOST/none:v1 -o -":                                      "not found",
		"pull HOST/x:v1 --ca-file none.pem":                           "caFiles[0]: open none.pem",
		"pull HOST/x:v1 --insecure-registry http://x":                 `insecureRegistries[0]: "http://x"`,
		"pull HOST/x:v1 --docker-config none.json":                    "read credentials: open none.json",
		"inspect none.wasm":                                           "inspect none.wasm: no such file",
		"inspect hello.wasm -o yaml":                                  `--output: unknown format "yaml" (allowed: json)`,
		"inspect HOST/none:v1 --root-dir root":                        "not found",
		"image ls -o yaml --root-dir root":                            `--output: unknown format "yaml"`,
		"image import hello.wasm --root-dir root":                     `required flag(s) "name" not set`,
		"image import hello.wat --name x:v1 --root-dir root":          "wat2wasm",
		"image ls --root-dir blocked":                                 "not a directory",
	} {
		_, _, err := execute(t, strings.Fields(strings.ReplaceAll(line, "HOST", w.host))...)
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: error is %v, want one that says %q", line, err, says)
		}
	}
}

// TestCredentials: without --docker-config the user's own file is used.
func TestCredentials(t *testing.T) {
	w := newWorld(t)
	if got := (&Access{}).Config().DockerConfig; got != "" {
		t.Errorf("without a file: %q", got)
	}
	file := filepath.Join(w.dir, "config.json")
	if err := os.WriteFile(file, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := (&Access{}).Config().DockerConfig; got != file {
		t.Errorf("with a file: %q, want %q", got, file)
	}
	if got := (&Access{dockerConfig: "other"}).Config().DockerConfig; got != "other" {
		t.Errorf("with a flag: %q, want other", got)
	}
}

func TestCompletion(t *testing.T) {
	w := newWorld(t)
	root := filepath.Join(w.dir, "root")
	must(t, "image", "import", "hello.wasm", "--name", "hello:dev", "--root-dir", root)
	if got := (&local{rootDir: root}).references(); len(got) != 1 || got[0] != "docker.io/library/hello:dev" {
		t.Errorf("references %v", got)
	}
}

// givenBack is what mpb writes to take a line away again.
const givenBack = "\x1b[1A\x1b[J"

func TestBar(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		const every = time.Second
		b := &bar{options: []mpb.ContainerOption{mpb.WithOutput(&out), mpb.WithWidth(60), mpb.WithAutoRefresh(), mpb.WithRefreshRate(every)}}
		drawn := func(p image.Progress) string {
			b.report()(p)
			<-time.After(every) // by the clock of the bubble
			synctest.Wait()
			defer out.Reset()
			return strings.TrimPrefix(out.String(), givenBack)
		}
		line := func(filled int, text string) string {
			return " [" + strings.Repeat("=", filled) + strings.Repeat(" ", 40-filled) + "] " + text + "\n"
		}
		for _, tt := range []struct {
			image.Progress
			want string
		}{
			{image.Progress{Digest: "config", Done: 2, Total: 2}, ""}, // too small to be shown
			{image.Progress{Digest: "a", Done: 0, Total: 1_000_000}, line(0, "  0% of 1.0 MB")},
			{image.Progress{Digest: "a", Done: 500_000, Total: 1_000_000}, line(20, " 50% of 1.0 MB")},
			{image.Progress{Digest: "b", Done: 1_000_000, Total: 1_000_000}, line(30, " 75% of 2.0 MB")},
			{image.Progress{Digest: "a", Done: 1_000_000, Total: 1_000_000}, line(40, "100% of 2.0 MB")},
			{image.Progress{Digest: "c", Done: 0, Total: 2_000_000}, line(20, " 50% of 4.0 MB")},
		} {
			if diff := cmp.Diff(tt.want, drawn(tt.Progress)); diff != "" {
				t.Errorf("%+v (-want +got):\n%s", tt.Progress, diff)
			}
		}
		late := b.report()
		b.finish()
		b.finish()
		late(image.Progress{Digest: "c", Done: 2_000_000, Total: 2_000_000})
		if got := out.String(); !strings.HasSuffix(got, givenBack) {
			t.Errorf("the line is not given back: %q", got)
		}
	})
}

func TestBarNotShown(t *testing.T) {
	var out bytes.Buffer
	b := newBar(&out)
	if b.report() != nil {
		t.Error("a bar on something that is no terminal")
	}
	b.finish()
	small := &bar{options: []mpb.ContainerOption{mpb.WithOutput(&out), mpb.WithAutoRefresh()}}
	small.report()(image.Progress{Digest: "config", Done: 10, Total: worthDrawing - 1})
	small.finish()
	if out.Len() > 0 {
		t.Errorf("drawn: %q", &out)
	}
}

func TestBytesText(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 999: "999 B", 1000: "1.0 kB", 1_234_567: "1.2 MB", 5_000_000_000: "5.0 GB", 7e15: "7000.0 TB"} {
		if got := bytesText(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}
