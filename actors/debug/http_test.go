package debug_test

import (
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/wazlet/wazlet/actors/debug"
)

func TestRefusals(t *testing.T) {
	h, _ := serve(t, oneFailing)
	for _, tc := range []struct {
		name, method, path, accept string
		code                       int
		want                       string
	}{
		{"unknown page", "GET", "/debug/actor", "", 404, "no page /debug/actor; there are /debug/ and below it actors, pods/NAMESPACE/NAME, supervision, deadletters, events, pprof/\n"},
		{"unknown page as JSON", "GET", "/elsewhere", "application/json", 404, `{"error":"no page /elsewhere; there are /debug/ and below it actors, pods/NAMESPACE/NAME, supervision, deadletters, events, pprof/"}` + "\n"},
		{"unknown file", "GET", "/debug/static/app.exe", "", 404, "no file \"app.exe\"\n"},
		{"the template is no file", "GET", "/debug/static/page.html", "", 404, "no file \"page.html\"\n"},
		{"write", "POST", "/debug/actors", "", 405, "method POST is not allowed here, only GET and HEAD\n"},
		{"delete", "DELETE", "/debug/pods/a/b", "application/json", 405, `{"error":"method DELETE is not allowed here, only GET and HEAD"}` + "\n"},
		{"profile by POST", "POST", "/debug/pprof/symbol", "", 405, "method POST is not allowed here, only GET and HEAD\n"},
		{"other type", "GET", "/debug/actors", "text/html", 406, "/debug/actors is served as application/json only, which Accept: text/html excludes\n"},
		{"excluded type", "GET", "/debug/", "*/*, text/html;q=0", 406, "/debug/ is served as text/html only, which Accept: */*, text/html;q=0 excludes\n"},
		{"events as JSON", "GET", "/debug/events", "application/json", 406, `{"error":"/debug/events is served as text/event-stream only, which Accept: application/json excludes"}` + "\n"},
		{"backlog", "GET", "/debug/events?backlog=many", "", 400, "backlog: want a number from 0 to 4096, got \"many\"\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, request(tc.method, tc.path, "Accept", tc.accept))
			if w.Code != tc.code || w.Body.String() != tc.want {
				t.Errorf("got  %d %q\nwant %d %q", w.Code, w.Body, tc.code, tc.want)
			}
			if tc.code == http.StatusMethodNotAllowed && w.Header().Get("Allow") != "GET, HEAD" {
				t.Errorf("Allow: %q", w.Header().Get("Allow"))
			}
		})
	}
}

func TestAcceptedTypes(t *testing.T) {
	h, _ := serve(t, oneFailing)
	for _, accept := range []string{"", "*/*", "application/*", "application/json", "text/html, APPLICATION/JSON;q=0.5", "text/html;q=0.1, */*;q=0.9"} {
		if w := get(h, "/debug/actors", "Accept", accept); w.Code != http.StatusOK {
			t.Errorf("Accept %q: %d", accept, w.Code)
		}
	}
}

func TestHostGuard(t *testing.T) {
	served := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	for _, tc := range []struct {
		name    string
		hosts   []string
		host    string
		headers map[string]string
		code    int
	}{
		{"localhost", nil, "localhost:10248", nil, 204},
		{"localhost in capitals with a dot", nil, "LOCALHOST.:10248", nil, 204},
		{"loopback", nil, "127.0.0.1:10248", nil, 204},
		{"other loopback", nil, "127.88.0.1", nil, 204},
		{"IPv6 loopback", nil, "[::1]:10248", nil, 204},
		{"IPv6 loopback without port", nil, "[::1]", nil, 204},
		{"mapped loopback", nil, "[::ffff:127.0.0.1]:80", nil, 204},
		{"a name that was rebound", nil, "evil.example.com:10248", nil, 403},
		{"a name that only looks like it", nil, "localhost.evil.example.com", nil, 403},
		{"an address as a name", nil, "127.0.0.1.nip.io", nil, 403},
		{"no host", nil, "", nil, 403},
		{"an address of the network", nil, "192.0.2.7:10248", nil, 403},
		{"that is listened on", []string{"192.0.2.7"}, "192.0.2.7:10248", nil, 204},
		{"another than is listened on", []string{"192.0.2.7"}, "192.0.2.8:10248", nil, 403},
		{"any address is listened on", []string{"0.0.0.0"}, "192.0.2.8:10248", nil, 204},
		{"any address, but a name", []string{"[::]"}, "evil.example.com:10248", nil, 403},
		{"a name that was configured", []string{"Edge-1"}, "edge-1:10248", nil, 204},
		{"everything", []string{"*"}, "evil.example.com", nil, 204},
		{"a script of another site", nil, "localhost", map[string]string{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, 403},
		{"a link on another site", nil, "localhost", map[string]string{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, 204},
		{"the page itself", nil, "localhost", map[string]string{"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"}, 204},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, "/debug/", nil)
			r.Host = tc.host
			for k, v := range tc.headers {
				r.Header.Set(k, v)
			}
			w := httptest.NewRecorder()
			debug.GuardHost(tc.hosts, served).ServeHTTP(w, r)
			if w.Code != tc.code {
				t.Errorf("%d, want %d: %s", w.Code, tc.code, w.Body)
			}
		})
	}
}

func TestHandlerIsGuarded(t *testing.T) {
	h, _ := serve(t, oneFailing)
	r := request(http.MethodGet, "/debug/actors")
	r.Host = "evil.example.com"
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != http.StatusForbidden || strings.Contains(w.Body.String(), "cart") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestPage(t *testing.T) {
	h, _ := serve(t, oneFailing)
	w := get(h, "/debug/", "Accept", "text/html,application/xhtml+xml,*/*;q=0.8")
	csp := w.Header().Get("Content-Security-Policy")
	if w.Code != http.StatusOK || !strings.HasPrefix(csp, "default-src 'none'; script-src 'self';") || strings.Contains(csp, "unsafe") {
		t.Errorf("%d, policy %q", w.Code, csp)
	}
	for _, want := range []string{"<title>edge-1 · wazlet</title>", "v0.1.0"} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("no %s in the page", want)
		}
	}
	for _, m := range regexp.MustCompile(`(?:src|href)="(/debug/static/[^"]+)"`).FindAllStringSubmatch(w.Body.String(), -1) {
		if file := get(h, m[1]); file.Code != http.StatusOK || file.Body.Len() == 0 {
			t.Errorf("%s: %d", m[1], file.Code)
		}
	}
	if w := get(h, "/debug"); w.Code != http.StatusMovedPermanently || w.Header().Get("Location") != "/debug/" {
		t.Errorf("/debug: %d %s", w.Code, w.Header().Get("Location"))
	}
}

func TestPageEscapesTheNodesName(t *testing.T) {
	h, err := debug.New(debug.Config{Recorder: debug.NewRecorder(nil), Actors: &scene{}, Node: `<script>alert(1)</script>`})
	if err != nil {
		t.Fatal(err)
	}
	if body := get(h, "/debug/").Body.String(); strings.Contains(body, "<script>alert") {
		t.Error(body)
	}
}

// TestAssetsNameNoOtherSite keeps the page from ever needing a network: the namespace of SVG is the only foreign URL.
func TestAssetsNameNoOtherSite(t *testing.T) {
	err := fs.WalkDir(os.DirFS("assets"), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile("assets/" + path)
		for _, u := range regexp.MustCompile(`(?:https?:)?//[a-z0-9.-]+\.[a-z]{2,}`).FindAllString(string(data), -1) {
			if u != "http://www.w3.org" {
				t.Errorf("%s names %s", path, u)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestProfiles(t *testing.T) {
	h, _ := serve(t, oneFailing)
	for path, want := range map[string]string{
		"/debug/pprof/":                  "goroutine",
		"/debug/pprof/goroutine?debug=1": "goroutine profile: total",
		"/debug/pprof/cmdline":           os.Args[0],
		"/debug/pprof/symbol":            "num_symbols: 1",
	} {
		if w := get(h, path); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: %d, no %q in it", path, w.Code, want)
		}
	}
}
