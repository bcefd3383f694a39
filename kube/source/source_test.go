package source_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/wazlet/wazlet/kube/source"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must come.
const patience = 30 * time.Second

var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// world is a directory with a running Source, whose clock stands still.
type world struct {
	t        *testing.T
	dir      string
	clock    *clocktesting.FakeClock
	known    []*corev1.Pod
	pods     chan []*corev1.Pod
	problems chan source.Problem
}

func newWorld(t *testing.T, dir string) *world {
	t.Helper()
	return &world{
		t: t, dir: dir, clock: clocktesting.NewFakeClock(epoch),
		pods: make(chan []*corev1.Pod, 100), problems: make(chan source.Problem, 100),
	}
}

// start runs the Source until the test ends.
func (w *world) start() {
	w.t.Helper()
	s := source.New(source.Options{
		Dir: w.dir, NodeName: "node", Clock: w.clock, Known: w.known,
		OnPods: func(p []*corev1.Pod) { w.pods <- p }, OnProblem: func(p source.Problem) { w.problems <- p },
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	w.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("Run: %v", err)
		}
	})
}

// put replaces a file at once.
func (w *world) put(name, text string) {
	w.t.Helper()
	tmp := filepath.Join(w.dir, "."+name+".new")
	if err := os.WriteFile(tmp, []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
	if err := os.Rename(tmp, filepath.Join(w.dir, name)); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) remove(name string) {
	w.t.Helper()
	if err := os.RemoveAll(filepath.Join(w.dir, name)); err != nil {
		w.t.Fatal(err)
	}
}

// settle waits until Run waits, and lets the time pass that it waits for.
func (w *world) settle() {
	w.t.Helper()
	w.await("Run to wait", w.clock.HasWaiters)
	w.clock.Step(source.DefaultScan)
}

func (w *world) await(what string, done func() bool) {
	w.t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-deadline:
			w.t.Fatalf("waited in vain for %s", what)
		}
	}
}

// wantPods waits for the next list and compares the names in it, with images.
func (w *world) wantPods(want ...string) []*corev1.Pod {
	w.t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for {
		select {
		case pods := <-w.pods:
			got := []string{}
			for _, p := range pods {
				got = append(got, p.Namespace+"/"+p.Name+"="+p.Spec.Containers[0].Image)
			}
			if d := cmp.Diff(append([]string{}, want...), got); d != "" {
				w.t.Fatalf("pods: %s", d)
			}
			return pods
		case <-tick.C:
			// Run may start a timer at any time; time has to go on for it.
			w.clock.Step(source.DefaultSettle)
		case <-deadline:
			w.t.Fatalf("no list of Pods; wanted %q", want)
		}
	}
}

// wantProblem waits for the next problem, which must contain the text.
func (w *world) wantProblem(text string) {
	w.t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for {
		select {
		case p := <-w.problems:
			if !strings.Contains(p.Error(), text) {
				w.t.Fatalf("problem %q, want %q", p.Error(), text)
			}
			return
		case <-tick.C:
			w.clock.Step(source.DefaultSettle)
		case <-deadline:
			w.t.Fatalf("no problem; wanted %q", text)
		}
	}
}

// quiet fails if there is news that no test has asked for. Several looks at the directory pass before.
func (w *world) quiet() {
	w.t.Helper()
	for range 3 {
		w.settle()
	}
	w.await("Run to wait", w.clock.HasWaiters)
	select {
	case p := <-w.pods:
		w.t.Fatalf("an unexpected list: %v", p)
	case p := <-w.problems:
		w.t.Fatalf("an unexpected problem: %v", p)
	default:
	}
}

func pod(name, image string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: Pod\nmetadata: {name: %s}\nspec: {containers: [{name: c, image: %s}]}\n", name, image)
}

func TestAddChangeRemove(t *testing.T) {
	w := newWorld(t, t.TempDir())
	w.put("b.yaml", pod("two", "i:1"))
	w.start()
	first := w.wantPods("default/two-node=i:1")
	if got := first[0].Annotations[source.SeenAnnotation]; got == "" {
		t.Error("no time at which the Pod was seen")
	}
	w.put("a.json", `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"one","namespace":"ns"},"spec":{"containers":[{"name":"c","image":"i:1"}]}}`)
	second := w.wantPods("ns/one-node=i:1", "default/two-node=i:1")
	if d := cmp.Diff(first[0], second[1]); d != "" {
		t.Errorf("a Pod changed because another came: %s", d)
	}
	w.put("b.yaml", pod("two", "i:2"))
	third := w.wantPods("ns/one-node=i:1", "default/two-node=i:2")
	if third[1].UID == second[1].UID {
		t.Error("a changed Pod has the UID of the old one")
	}
	w.put("b.yaml", "# only a comment\n"+pod("two", "i:2"))
	w.quiet()
	w.remove("a.json")
	w.wantPods("default/two-node=i:2")
	w.remove("b.yaml")
	w.wantPods()
	w.quiet()
}

// Pods are shared with whoever was told of them, so they must not change any more.
func TestPodsStayAsTheyWereTold(t *testing.T) {
	w := newWorld(t, t.TempDir())
	w.put("a", pod("a", "i:1"))
	w.start()
	got := w.wantPods("default/a-node=i:1")[0]
	before := got.DeepCopy()
	w.put("a", pod("a", "i:2"))
	w.put("b", pod("b", "i:1"))
	w.wantPods("default/a-node=i:2", "default/b-node=i:1")
	if d := cmp.Diff(before, got); d != "" {
		t.Error(d)
	}
}

// What a file's inode, size and times say is believed, unless it was changed just now.
func TestUnchangedFilesAreNotRead(t *testing.T) {
	w := newWorld(t, t.TempDir())
	old, older := epoch.Add(-time.Hour), epoch.Add(-2*time.Hour)
	path := filepath.Join(w.dir, "a")
	write := func(image string, modified time.Time) {
		t.Helper()
		if err := os.WriteFile(path, []byte(pod("a", image)), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, modified, modified); err != nil {
			t.Fatal(err)
		}
	}
	write("i:1", old)
	w.start()
	w.wantPods("default/a-node=i:1")
	write("i:2", old)
	w.settle()
	w.settle()
	w.quiet()
	write("i:2", older)
	w.wantPods("default/a-node=i:2")
}

func TestEmptyDirectoryIsToldToo(t *testing.T) {
	w := newWorld(t, t.TempDir())
	w.start()
	w.wantPods()
	w.quiet()
}

// A file that has become bad is reported once, touches no other Pod, and its own Pod stays as it was.
func TestBadFile(t *testing.T) {
	w := newWorld(t, t.TempDir())
	w.put("a.yaml", pod("a", "i:1"))
	w.put("b.yaml", pod("b", "i:1"))
	w.start()
	w.wantPods("default/a-node=i:1", "default/b-node=i:1")

	w.put("a.yaml", strings.Replace(pod("a", "i:2"), "image", "imag", 1))
	w.wantProblem(filepath.Join(w.dir, "a.yaml") + ":4: spec.containers[0].imag: unknown field; did you mean image?")
	w.quiet()

	w.put("b.yaml", pod("b", "i:2"))
	w.wantPods("default/a-node=i:1", "default/b-node=i:2")

	w.put("a.yaml", "")
	w.wantProblem("a.yaml: holds no Pod")
	w.quiet()
	w.put("a.yaml", pod("a", "i:1"))
	w.quiet() // the same Pod as before: nothing to do
	w.put("a.yaml", "")
	w.wantProblem("a.yaml: holds no Pod") // it was gone in between
	w.remove("a.yaml")
	w.wantPods("default/b-node=i:2")
}

// TestNonsense: a file cannot flood the log.
func TestNonsense(t *testing.T) {
	w := newWorld(t, t.TempDir())
	var text strings.Builder
	text.WriteString("apiVersion: v1\nkind: Pod\n")
	for i := range source.MaxProblems + 7 {
		fmt.Fprintf(&text, "field%d: 1\n", i)
	}
	w.put("bad.yaml", text.String())
	w.start()
	w.wantPods()
	for i := range source.MaxProblems {
		w.wantProblem(fmt.Sprintf("bad.yaml:%d: field%d: unknown field", i+3, i))
	}
	w.wantProblem("bad.yaml: has 7 more problems")
	w.quiet()
}

func TestBadFileFromTheStart(t *testing.T) {
	w := newWorld(t, t.TempDir())
	w.put("a", "nonsense")
	w.put("b", pod("b", "i:1"))
	w.start()
	w.wantProblem("a:1: kind: must be Pod (got nothing)")
	w.wantProblem("a:1: apiVersion: must be v1 (got nothing)")
	w.wantPods("default/b-node=i:1")
	w.put("a", pod("a", "i:1"))
	w.wantPods("default/a-node=i:1", "default/b-node=i:1")
}

// A file that has become bad while nobody looked keeps its Pod too; one that was removed does not.
func TestBadFileOfAnEarlierRun(t *testing.T) {
	dir := t.TempDir()
	first := newWorld(t, dir)
	for _, name := range []string{"bad", "gone", "good"} {
		first.put(name, pod(name, "i:1"))
	}
	first.start()
	w := newWorld(t, dir)
	w.known = first.wantPods("default/bad-node=i:1", "default/gone-node=i:1", "default/good-node=i:1")
	w.put("bad", "nonsense")
	w.put("good", pod("good", "i:2"))
	w.remove("gone")
	w.start()
	w.wantProblem("bad:1: kind: must be Pod")
	w.wantProblem("bad:1: apiVersion: must be v1")
	w.wantPods("default/bad-node=i:1", "default/good-node=i:2")
}

func TestDuplicateName(t *testing.T) {
	w := newWorld(t, t.TempDir())
	w.put("b.yaml", pod("same", "i:b"))
	w.start()
	w.wantPods("default/same-node=i:b")

	// A file that comes first by name takes the name over; the Pod of the other ends.
	w.put("a.yaml", pod("same", "i:a"))
	w.wantProblem(`b.yaml: metadata.name: is already the name of the Pod in a.yaml (got "same" in namespace "default")`)
	w.wantPods("default/same-node=i:a")

	// The same name in another namespace is another name.
	w.put("c.yaml", strings.Replace(pod("same", "i:c"), "name: same", "name: same, namespace: other", 1))
	w.wantPods("default/same-node=i:a", "other/same-node=i:c")

	// A Pod that was accepted goes on when its file then asks for a name that is taken.
	w.put("c.yaml", pod("same", "i:d"))
	w.wantProblem(`c.yaml: metadata.name: is already the name of the Pod in a.yaml`)
	w.quiet()

	w.remove("a.yaml")
	w.wantProblem(`c.yaml: metadata.name: is already the name of the Pod in b.yaml`)
	w.wantPods("default/same-node=i:b", "other/same-node=i:c")
}

func TestIgnoredFiles(t *testing.T) {
	w := newWorld(t, t.TempDir())
	for _, name := range []string{".hidden.yaml", "a.yaml~", ".a.yaml.swp", "a.swp", "#a.yaml#", "a.tmp", "a.yaml.bak", "b.yaml.orig"} {
		w.put(name, "nonsense")
	}
	if err := os.Mkdir(filepath.Join(w.dir, "sub"), 0o700); err != nil {
		t.Fatal(err)
	}
	w.put("no-extension", pod("a", "i:1"))
	w.start()
	w.wantPods("default/a-node=i:1")
	w.quiet()
}

func TestUnreadableFiles(t *testing.T) {
	w := newWorld(t, t.TempDir())
	w.put("big.yaml", strings.Repeat("#", source.MaxFileBytes+1))
	w.put("limit.yaml", pod("limit", "i:1")+strings.Repeat("#", source.MaxFileBytes-len(pod("limit", "i:1"))))
	if err := os.Symlink("nowhere", filepath.Join(w.dir, "dangling.yaml")); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(w.dir, "pipe.yaml"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.start()
	w.wantProblem(fmt.Sprintf("big.yaml: must be at most 1048576 bytes (got %d)", source.MaxFileBytes+1))
	w.wantProblem("dangling.yaml: open manifest: no such file or directory")
	w.wantProblem("pipe.yaml: must be a regular file (got p---------)")
	w.wantPods("default/limit-node=i:1")
	w.put("limit.yaml", strings.Repeat("#", source.MaxFileBytes+2))
	w.wantProblem("limit.yaml: must be at most")
	w.quiet() // its Pod stays
}

func TestDirectoryComesAndGoes(t *testing.T) {
	parent := t.TempDir()
	w := newWorld(t, filepath.Join(parent, "not", "yet"))
	w.start()
	w.wantProblem("not/yet: the directory does not exist; it is used once it does")
	w.wantPods()
	w.quiet()
	if err := os.MkdirAll(w.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	w.put("a.yaml", pod("a", "i:1"))
	w.wantPods("default/a-node=i:1")
	if err := os.RemoveAll(w.dir); err != nil {
		t.Fatal(err)
	}
	// The Pod may be seen to go before the directory does.
	w.wantPods()
	w.wantProblem("the directory does not exist")
}

func TestDirectoryThatIsAFile(t *testing.T) {
	parent := t.TempDir()
	w := newWorld(t, filepath.Join(parent, "file"))
	if err := os.WriteFile(w.dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	w.start()
	w.wantProblem("file: read directory: ")
	w.quiet()
}

// A mounted ConfigMap: files are links into ..data, which is a link that is replaced.
func TestConfigMapLinks(t *testing.T) {
	w := newWorld(t, t.TempDir())
	version := func(name, image string) {
		dir := filepath.Join(w.dir, name)
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "p.yaml"), []byte(pod("p", image)), 0o600); err != nil {
			t.Fatal(err)
		}
		tmp := filepath.Join(w.dir, "..data_tmp")
		if err := os.Symlink(name, tmp); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(tmp, filepath.Join(w.dir, "..data")); err != nil {
			t.Fatal(err)
		}
	}
	version("..v1", "i:1")
	if err := os.Symlink("..data/p.yaml", filepath.Join(w.dir, "p.yaml")); err != nil {
		t.Fatal(err)
	}
	w.start()
	w.wantPods("default/p-node=i:1")
	version("..v2", "i:2")
	w.wantPods("default/p-node=i:2")
}

func TestTooManyFiles(t *testing.T) {
	w := newWorld(t, t.TempDir())
	for i := range source.MaxFiles + 1 {
		if err := os.WriteFile(filepath.Join(w.dir, fmt.Sprintf("%05d", i)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w.problems = make(chan source.Problem, source.MaxFiles+10)
	w.start()
	w.wantProblem("20000: this file and those after it are ignored: a directory may hold 20000 manifests (got 20001)")
	w.wantPods()
}

func TestProblemText(t *testing.T) {
	for want, p := range map[string]source.Problem{
		"/m/a: holds no Pod":    {File: "/m/a", Message: "holds no Pod"},
		"/m/a:3: spec.x: wrong": {File: "/m/a", Line: 3, Field: "spec.x", Message: "wrong"},
		"/m/a: spec.x: wrong":   {File: "/m/a", Field: "spec.x", Message: "wrong"},
	} {
		if got := p.Error(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
