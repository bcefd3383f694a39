package debug_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"k8s.io/utils/clock"

	"github.com/wazlet/wazlet/actors"
)

// Expressions that the tests ask for again and again.
const (
	names     = `[...document.querySelectorAll("#tree-canvas .row")].sort((a, b) => a.ariaRowIndex - b.ariaRowIndex).map((r) => r.querySelector(".label").textContent).join(" ")`
	shownRows = `document.querySelectorAll("#tree-canvas .row").length`
	allRows   = `Number(document.getElementById("tree").getAttribute("aria-rowcount")) - 1`
)

// cell is the text of a column of a Pod's or a container's row; the columns are those of table.js.
func cell(id string, column int) string {
	return fmt.Sprintf(`document.getElementById("row-%s")?.children[%d].textContent`, id, column)
}

const (
	columnState    = 1
	columnSince    = 2
	columnRestarts = 3
	columnNext     = 4
)

func typeFilter(b *tab, text string) {
	b.t.Helper()
	b.run(fmt.Sprintf(`{ const f = document.getElementById("filter"); f.value = %q; f.dispatchEvent(new Event("input")); }`, text))
}

// thousand is a node with 1,000 Pods in ten namespaces; every other Pod has two containers.
func thousand(s *scene) {
	for i := range 1000 {
		containers := []string{"app"}
		if i%2 == 1 {
			containers = append(containers, "proxy")
		}
		s.pod(fmt.Sprintf("ns-%d", i%10), fmt.Sprintf("pod-%04d", i), containers...)
	}
}

func TestPageWithAThousandPods(t *testing.T) {
	b, s := browse(t, 1440, 900, thousand)
	b.until(allRows + ` === 2501`)
	if n := eval[int](b, shownRows); n < 10 || n > 60 {
		t.Errorf("%d rows exist as elements, want those in view only", n)
	}
	if got := eval[string](b, names); !strings.HasPrefix(got, "edge-1 ns-0/pod-0000 app ns-0/pod-0010 app ") {
		t.Errorf("the order is %s", got)
	}
	b.until(`document.getElementById("n-all").textContent === "1,000" && document.getElementById("f-modules").textContent === "1,500"`)

	b.run(`document.getElementById("tree-view").scrollTop = 1e9`)
	b.until(names + `.includes("ns-9/pod-0999 app proxy")`)
	if n := eval[int](b, shownRows); n > 60 {
		t.Errorf("%d rows exist as elements at the end", n)
	}

	pod := s.pods[777]
	id := "node/" + string(pod.UID)
	typeFilter(b, "ns:ns-7 0777")
	b.until(names + ` === "ns-7/pod-0777 app proxy"`)
	b.until(`document.getElementById("shown").textContent === "1 of 1,000 Pods"`)

	s.move(id+"/proxy", "Exited", "Error (1)", clock.RealClock{}.Now())
	b.until(cell(id+"/proxy", columnState) + ` === "Exited"`)
	b.until(`document.getElementById("f-modules").textContent === "1,499"`)

	typeFilter(b, "state:exited")
	b.until(names + ` === "ns-7/pod-0777 proxy"`)
	typeFilter(b, "no such pod")
	b.until(shownRows + ` === 0 && !document.getElementById("empty").hidden`)
	typeFilter(b, "")
	b.until(allRows + ` === 2501`)

	b.run(`document.getElementById("expand").click()`)
	b.until(allRows + ` === 1001`)
	s.remove(id)
	b.until(allRows + ` === 1000`)
	b.clean()
}

// TestPageSurvivesAStorm measures nothing: it makes sure that a storm of events leaves the page usable and right.
func TestPageSurvivesAStorm(t *testing.T) {
	b, s := browse(t, 1440, 900, thousand)
	for range 3 {
		for _, p := range s.pods {
			id := "node/" + string(p.UID) + "/app"
			at := clock.RealClock{}.Now()
			s.move(id, "Exited", "Error (1)", at)
			s.move(id, "Running", "started", at)
		}
	}
	id := "node/" + string(s.pods[0].UID) + "/app"
	s.move(id, "Exited", "Completed (0)", clock.RealClock{}.Now())
	b.until(cell(id, columnState) + ` === "Exited"`)
	b.run(`document.getElementById("tab-activity").click()`)
	b.until(`document.querySelectorAll("#feed .entry").length > 50`)
	if n := eval[int](b, `document.querySelectorAll("#feed .entry").length`); n > 300 {
		t.Errorf("%d entries in the list", n)
	}
	b.until(`document.getElementById("f-modules").textContent === "1,499"`)
	b.clean()
}

func TestPageSorts(t *testing.T) {
	b, _ := browse(t, 1440, 900, showcase)
	first := func(column, want string) {
		t.Helper()
		b.run(fmt.Sprintf(`document.querySelector("[data-by=%s] button").click()`, column))
		b.until(names + fmt.Sprintf(`.startsWith("edge-1 %s")`, want))
	}
	first("restarts", "shop/payment-84cd1 checkout proxy")
	first("mailbox", "shop/search-6c4f2 indexer")
	first("busy", "shop/search-6c4f2 indexer")
	first("next", "batch/thumbnailer thumb")
	first("failure", "batch/thumbnailer thumb")
	first("state", "batch/convert-2291 convert")
	first("name", "batch/convert-2291 convert batch/nightly-report")
	first("name", "shop/search-6c4f2 indexer shop/payment-84cd1")
	if got := eval[string](b, `[...document.querySelectorAll("[role=columnheader]")].map((h) => h.ariaSort).join()`); got != "descending,none,none,none,none,none,none,none" {
		t.Errorf("aria-sort: %s", got)
	}
	b.clean()
}

func TestPageTiles(t *testing.T) {
	b, _ := browse(t, 1440, 900, showcase)
	b.until(`[...document.querySelectorAll(".tile b")].map((n) => n.textContent).join() === "12,6,2,2,1,1"`)
	b.do(chromedp.Click(`[data-class=backoff]`))
	b.until(names + ` === "batch/thumbnailer thumb shop/payment-84cd1 checkout proxy"`)
	b.do(chromedp.Click(`[data-class=backoff]`))
	b.until(`document.querySelector("[data-class=all]").getAttribute("aria-pressed") === "true"`)
	b.clean()
}

func TestPageCountsDown(t *testing.T) {
	b, s := browse(t, 1440, 900, func(s *scene) { s.pod("shop", "cart", "app") })
	ref := actors.PodRef{UID: string(s.pods[0].UID), Namespace: "shop", Name: "cart"}
	at := clock.RealClock{}.Now()
	s.exit(ref, "app", at, actors.Decision{Reason: actors.ReasonError, Code: 1, Directive: actors.DirectiveRestart, Delay: 30 * time.Second, Restarts: 3}, "exit code 1")
	id := moduleID(ref, "app")
	left := func(name string) string {
		return fmt.Sprintf(`(() => { const m = /^in (\d+)s$/.exec(%s); if (!m) return false; window.%s = Number(m[1]); return true; })()`, cell(id, columnNext), name)
	}
	b.until(left("before"))
	b.until(left("after") + ` && after < before`)
	b.until(cell(id, columnRestarts) + ` === "3"`)
	b.until(`document.querySelector("#feed .entry").textContent.includes("shop/cart › app") && /Error 1restart in \d+s#3/.test(document.querySelector("#feed .entry").textContent)`)
	s.change(id, func(i *actors.Info) { i.NextRestart = nil })
	s.move(id, "Running", "started", clock.RealClock{}.Now())
	b.until(cell(id, columnNext) + ` === ""`)
	b.until(`/^[0-9]s$/.test(` + cell(id, columnSince) + `)`)
	b.clean()
}

func TestPageDrawer(t *testing.T) {
	b, s := browse(t, 1440, 1000, showcase)
	crashed := clock.RealClock{}.Now()
	ref := actors.PodRef{}
	for _, p := range s.pods {
		if p.Name == "payment-84cd1" {
			ref = actors.PodRef{UID: string(p.UID), Namespace: p.Namespace, Name: p.Name}
		}
	}
	s.change(podID(ref), func(i *actors.Info) {
		i.LastFailure = &actors.FailureInfo{Time: crashed, Reason: "Crash", Message: "podactor.Apply", Stack: "goroutine 7 [running]:\nmain.<script>()"}
	})
	typeFilter(b, "payment")
	b.do(chromedp.Click(`#tree-canvas .row[data-kind=pod] .label`))
	b.until(`document.querySelectorAll("#drawer .chart rect").length > 20`)
	lanes := `[...document.querySelectorAll("#drawer .lane")].map((l) => l.firstChild.data).join()`
	if got := eval[string](b, lanes); got != "Pod,checkout,proxy" {
		t.Errorf("lanes %s", got)
	}
	text := `document.getElementById("drawer").textContent`
	for _, want := range []string{"shop/payment-84cd1", "registry.example.com/mesh/proxy:0.9.0", "wasm error: unreachable", "payment.checkout.validate_card(i32,i32) i32", "podactor.Apply", "restart in", "127.88.0.14"} {
		b.until(text + `.includes(` + fmt.Sprintf("%q", want) + `)`)
	}
	b.until(`document.querySelector("#drawer details pre")?.textContent.includes("main.<script>()")`)
	if strings.Contains(eval[string](b, text), "hunter2") {
		t.Error("a secret is shown")
	}

	before := eval[int](b, `document.querySelectorAll("#drawer .history li").length`)
	s.move(moduleID(ref, "proxy"), "Exited", "Completed (0)", clock.RealClock{}.Now())
	b.until(fmt.Sprintf(`document.querySelectorAll("#drawer .history li").length === %d && document.querySelector("#drawer .history li").textContent.includes("Completed (0)")`, before+1))
	b.run(`[...document.querySelectorAll(".ranges button")].find((x) => x.textContent === "1m").click()`)
	b.until(`document.querySelectorAll("#drawer .chart rect").length < 10`)
	b.run(`document.querySelector("#drawer .chart rect").dispatchEvent(new PointerEvent("pointerover", { bubbles: true }))`)
	b.until(`/^Pod: Running for /.test(document.querySelector(".chart-note").textContent)`)
	if got := eval[string](b, `location.hash`); got != "#pod=shop%2Fpayment-84cd1" {
		t.Errorf("hash %s", got)
	}
	b.do(chromedp.KeyEvent("\u001b"))
	b.until(`document.getElementById("drawer").hidden && location.hash === ""`)
	b.clean()
}

func TestPageByKeyboard(t *testing.T) {
	b, _ := browse(t, 1440, 900, showcase)
	active := `document.getElementById(document.getElementById("tree").getAttribute("aria-activedescendant"))?.querySelector(".label").textContent`
	b.run(`document.body.dispatchEvent(new KeyboardEvent("keydown", { key: "/", bubbles: true, cancelable: true }))`)
	b.until(`document.activeElement.id === "filter"`)
	b.do(chromedp.KeyEvent("shop"))
	b.until(names + `.startsWith("shop/cart-5d8b7 cart shop/catalog-7f9c4")`)
	press := func(key, want string) {
		t.Helper()
		b.run(fmt.Sprintf(`document.activeElement.dispatchEvent(new KeyboardEvent("keydown", { key: %q, bubbles: true, cancelable: true }))`, key))
		b.until(active + fmt.Sprintf(` === %q`, want))
	}
	b.run(`document.activeElement.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowDown", bubbles: true, cancelable: true }))`)
	b.until(`document.activeElement.id === "tree"`)
	press("ArrowDown", "shop/cart-5d8b7")
	press("ArrowDown", "cart")
	press("ArrowLeft", "shop/cart-5d8b7")
	press("ArrowLeft", "shop/cart-5d8b7")
	b.until(names + `.startsWith("shop/cart-5d8b7 shop/catalog-7f9c4")`)
	press("ArrowRight", "shop/cart-5d8b7")
	b.until(names + `.startsWith("shop/cart-5d8b7 cart ")`)
	press("ArrowRight", "cart")
	press("End", "indexer")
	press("Home", "shop/cart-5d8b7")
	press("Enter", "shop/cart-5d8b7")
	b.until(`!document.getElementById("drawer").hidden && document.getElementById("drawer-title").textContent === "shop/cart-5d8b7"`)
	b.do(chromedp.KeyEvent("\u001b"))
	b.until(`document.activeElement.id === "tree"`)
	b.clean()
}

func TestPageNamesEverythingForAssistiveTechnology(t *testing.T) {
	b, _ := browse(t, 1440, 900, showcase)
	b.run(`location.hash = "#pod=shop%2Fpayment-84cd1"`)
	b.until(`document.querySelectorAll("#drawer .seg").length > 0`)
	if got := eval[string](b, `[...document.querySelectorAll("button, input, a")].filter((e) => !e.hidden && !(e.textContent.trim() || e.ariaLabel || e.title)).map((e) => e.outerHTML).join("\n")`); got != "" {
		t.Errorf("without a name:\n%s", got)
	}
	if got := eval[string](b, `(() => { const ids = [...document.querySelectorAll("[id]")].map((e) => e.id); return ids.filter((id, i) => ids.indexOf(id) !== i).join(); })()`); got != "" {
		t.Errorf("ids that are there twice: %s", got)
	}
	row := `document.querySelector("#tree-canvas .row[data-kind=module]")`
	if got := eval[string](b, `[`+row+`.role, `+row+`.ariaLevel, `+row+`.firstChild.role, document.getElementById("tree").role].join()`); got != "row,3,gridcell,treegrid" {
		t.Errorf("roles %s", got)
	}
	b.clean()
}

func TestPageThemes(t *testing.T) {
	b, _ := browse(t, 1440, 900, showcase)
	background := `getComputedStyle(document.body).backgroundColor`
	const light, dark = "rgb(246, 246, 244)", "rgb(19, 20, 23)"
	b.media("light")
	b.until(background + ` === "` + light + `"`)
	b.media("dark")
	b.until(background + ` === "` + dark + `"`)
	press := func(title, want string) {
		t.Helper()
		b.do(chromedp.Click(`#theme`))
		b.until(`document.getElementById("theme").title === "Theme: ` + title + `" && ` + background + ` === "` + want + `"`)
	}
	press("light", light)
	press("dark", dark)
	b.do(chromedp.Reload())
	b.media("light")
	b.until(background + ` === "` + dark + `"`) // remembered
	press("automatic", light)
	b.clean()
}

func TestPageContrast(t *testing.T) {
	b, _ := browse(t, 1440, 1000, showcase)
	b.run(`location.hash = "#pod=shop%2Fpayment-84cd1"`)
	b.until(`document.querySelectorAll("#drawer .seg").length > 0`)
	for _, scheme := range []string{"light", "dark"} {
		b.media(scheme)
		if got := eval[string](b, contrast); got != "" {
			t.Errorf("%s: text with a contrast below 4.5:\n%s", scheme, got)
		}
	}
}

// contrast lists texts whose contrast with their background is below WCAG's 4.5.
const contrast = `(() => {
	const rgb = (c) => c.match(/[\d.]+/g).map(Number);
	const light = (c) => c.slice(0, 3).map((v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
		.reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
	const behind = (e) => {
		for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor); if (c.length < 4 || c[3] > 0) return c; }
		return [255, 255, 255];
	};
	const bad = new Set();
	for (const e of document.querySelectorAll("body *")) {
		if (![...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()) || !e.checkVisibility() || e.closest("svg")) continue;
		const [a, b] = [light(rgb(getComputedStyle(e).color)), light(behind(e))];
		const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
		if (ratio < 4.5) bad.add(e.className + " in " + e.parentElement.className + ": " + ratio.toFixed(2));
	}
	return [...bad].join("\n");
})()`

func TestPageReconnects(t *testing.T) {
	b, s := browse(t, 1440, 900, showcase)
	b.server.CloseClientConnections()
	b.until(`document.getElementById("connection").dataset.state !== "live"`)
	b.until(`document.getElementById("connection").dataset.state === "live"`)
	s.tell(letterTo("pods/after"))
	b.run(`document.getElementById("tab-letters").click()`)
	b.until(`document.querySelector("#feed .entry").textContent.includes("pods/after")`)
	b.until(`document.getElementById("f-letters").textContent === "2"`)
}

// TestPageOfANodeThatIsAway is what a user sees while the daemon is restarted.
func TestPageOfANodeThatIsAway(t *testing.T) {
	b, s := browse(t, 1440, 900, showcase)
	s.recorder.Close() // ends the stream, and answers 503 from now on
	b.until(`/^Reconnecting in \d+s$/.test(document.getElementById("connection").textContent.trim()) && document.body.classList.contains("stale")`)
}

func TestPageShowsTheNodesActor(t *testing.T) {
	b, s := browse(t, 1440, 900, showcase)
	s.change("node", func(i *actors.Info) {
		i.LastFailure = &actors.FailureInfo{Time: noon, Reason: "assignment to entry in nil map", Message: "nodeactor.Apply", Stack: "goroutine 1 [running]"}
	})
	b.do(chromedp.Click(`#tree-canvas .row[data-kind=node] .label`))
	b.until(`document.getElementById("drawer-title").textContent === "node" && document.querySelector("#drawer pre")?.textContent === "goroutine 1 [running]"`)
	b.clean()
}

func TestPageShowsHazards(t *testing.T) {
	b, s := browse(t, 1440, 900, showcase)
	b.until(`document.getElementById("guard").hidden`)
	s.mu.Lock()
	s.counters.LeakedWorkers = 2
	s.mu.Unlock()
	b.until(`!document.getElementById("guard").hidden && document.getElementById("guard").textContent === "LeakedWorkers 2"`)
	b.clean()
}

// TestPageInNarrowWindows leaves columns out rather than squeezing or hiding what remains.
func TestPageInNarrowWindows(t *testing.T) {
	b, _ := browse(t, 1440, 900, showcase)
	visible := `[...document.querySelectorAll("#tree-head .cell")].filter((c) => c.checkVisibility()).length`
	for _, tc := range []struct {
		width   int64
		columns int
	}{{1440, 8}, {1280, 7}, {720, 5}} {
		b.do(chromedp.EmulateViewport(tc.width, 800))
		b.until(fmt.Sprintf(`%s === %d`, visible, tc.columns))
		b.until(`document.documentElement.scrollWidth <= innerWidth && [...document.querySelectorAll("#tree-head .sort")].every((s) => !s.checkVisibility() || s.offsetWidth <= s.parentElement.clientWidth)`)
	}
	b.clean()
}
