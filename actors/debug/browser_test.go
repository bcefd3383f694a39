package debug_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"go.uber.org/goleak"
	"k8s.io/utils/clock"

	"github.com/wazlet/wazlet/actors/debug"
)

// tab is a page in headless Chromium, and what it complained about.
type tab struct {
	t      *testing.T
	ctx    context.Context
	origin string
	server *httptest.Server

	mu       sync.Mutex
	problems []string
}

// browse serves the scene that set makes and opens the page in a window of the given size.
func browse(t *testing.T, width, height int, set func(*scene)) (*tab, *scene) {
	t.Helper()
	recorder := debug.NewRecorder(nil)
	s := newScene(clock.RealClock{}.Now(), recorder)
	set(s)
	h, err := debug.New(debug.Config{Recorder: recorder, Actors: s, Counters: s.counts, Pods: s.list, Node: "edge-1", Version: "v0.1.0"})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(h)
	t.Cleanup(func() { recorder.Close(); server.Close() })

	ctx, cancel := chromedp.NewContext(chrome(t))
	t.Cleanup(cancel)
	ctx, cancel = context.WithTimeout(ctx, 2*time.Minute)
	t.Cleanup(cancel)
	b := &tab{t: t, ctx: ctx, origin: server.URL, server: server}
	if err := chromedp.Listen(ctx, b.listen); err != nil {
		t.Fatal(err)
	}
	b.do(chromedp.EmulateViewport(int64(width), int64(height)))
	call(b, network.Enable, network.EnableParams{})
	call(b, log.Enable, cdp.Empty{})
	call(b, runtime.Enable, cdp.Empty{})
	b.do(chromedp.Navigate(server.URL + "/debug/"))
	b.until(`document.getElementById("connection").dataset.state === "live" && document.querySelectorAll("#tree-canvas .row").length > 0`)
	return b, s
}

// chrome returns a context of the one browser that all tests share; each has a tab of its own, and an origin.
func chrome(t *testing.T) context.Context {
	t.Helper()
	path := chromium(t)
	browser.once.Do(func() {
		profile, err := os.MkdirTemp("", "wazlet-chromium-") //nolint:usetesting // outlives the test that starts the browser
		if err != nil {
			browser.err = err
			return
		}
		ctx, stopProcess := chromedp.NewExecAllocator(context.Background(), append(chromedp.DefaultExecAllocatorOptions[:],
			chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.UserDataDir(profile),
			chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true))...)
		ctx, stopBrowser := chromedp.NewContext(ctx)
		browser.ctx, browser.err = ctx, chromedp.Do(ctx) // starts it
		browser.stop = func() {
			stopBrowser()
			stopProcess()
			_ = os.RemoveAll(profile)
		}
	})
	if browser.err != nil {
		t.Fatalf("start %s: %v", path, browser.err)
	}
	return browser.ctx
}

var browser struct {
	once sync.Once
	ctx  context.Context
	err  error
	stop func()
}

// TestMain ends the browser before it looks for goroutines that were left behind.
func TestMain(m *testing.M) {
	code := m.Run()
	if browser.stop != nil {
		browser.stop()
	}
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// chromium finds the browser. In CI it must be there.
func chromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	const hint = "no chromium in PATH: apt-get install --no-install-recommends chromium"
	if os.Getenv("CI") == "true" {
		t.Fatal(hint)
	}
	t.Skip(hint)
	return ""
}

func (b *tab) listen(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		b.problems = append(b.problems, "exception: "+describe(e.ExceptionDetails))
	case *runtime.EventConsoleAPICalled:
		if len(e.Args) > 0 && (e.Type == runtime.ConsoleAPICalledTypeError || e.Type == runtime.ConsoleAPICalledTypeWarning) {
			b.problems = append(b.problems, "console: "+string(e.Args[0].Value)+e.Args[0].Description)
		}
	case *log.EventEntryAdded:
		if e.Entry.Level == log.EntryLevelError || e.Entry.Level == log.EntryLevelWarning {
			b.problems = append(b.problems, "log: "+e.Entry.Text+" "+e.Entry.URL)
		}
	case *network.EventRequestWillBeSent:
		if u, err := url.Parse(e.Request.URL); err != nil || u.Scheme != "data" && !strings.HasPrefix(e.Request.URL, b.origin+"/") {
			b.problems = append(b.problems, "request outside the origin: "+e.Request.URL)
		}
	}
}

// clean fails the test when the page logged an error or asked for anything elsewhere.
func (b *tab) clean() {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.problems {
		b.t.Error(p)
	}
}

func (b *tab) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, actions...); err != nil {
		b.t.Fatal(err)
	}
}

// eval returns the value of a JavaScript expression.
func eval[T any](b *tab, expression string) T {
	b.t.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		b.t.Fatalf("%s: %v", expression, err)
	}
	return v
}

// run evaluates JavaScript for its effect.
func (b *tab) run(script string) {
	b.t.Helper()
	eval[bool](b, script+"; true")
}

// call sends a command of the protocol that has no action.
func call[P, R any](b *tab, command cdp.Command[P, R], params P) {
	b.t.Helper()
	if _, err := chromedp.Call(b.ctx, command, params); err != nil {
		b.t.Fatal(err)
	}
}

func describe(d *runtime.ExceptionDetails) string {
	if d.Exception != nil {
		return d.Text + " " + d.Exception.Description
	}
	return d.Text
}

// until waits for a JavaScript expression to become true.
func (b *tab) until(expression string) {
	b.t.Helper()
	_, err := chromedp.Run(b.ctx, chromedp.Poll[bool](expression, chromedp.WithPollingInterval(50*time.Millisecond), chromedp.WithPollingTimeout(20*time.Second)))
	if err != nil {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.t.Fatalf("waiting for %s: %v; problems: %q", expression, err, b.problems)
	}
}

// media makes the page believe in a color scheme, and stops animations.
func (b *tab) media(scheme string) {
	b.t.Helper()
	call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"},
	}})
}
