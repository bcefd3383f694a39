package server

import (
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
)

// Status is what /statusz tells of the process.
type Status struct {
	// Started is since when the process runs, Version the release of Kubernetes that it stands for.
	Started time.Time
	Version string
	// Clock is nil for the real one.
	Clock clock.PassiveClock
}

const (
	component     = "kubelet"
	zPagesVersion = "v1beta1"
	zPagesGroup   = "config.k8s.io"
	zPageHeader   = "\n%s %s\nWarning: This endpoint is not meant to be machine parseable, has no formatting compatibility guarantees " +
		"and is for debugging purposes only.\n"
)

type statusz struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	StartTime         metav1.Time `json:"startTime"`
	UptimeSeconds     int64       `json:"uptimeSeconds"`
	GoVersion         string      `json:"goVersion"`
	BinaryVersion     string      `json:"binaryVersion"`
	Paths             []string    `json:"paths"`
}

type flagz struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Flags             map[string]string `json:"flags"`
}

// zPages registers the pages that every component of Kubernetes has. Call it last: statusz lists what is served.
func (h Handlers) zPages(mux *http.ServeMux) {
	if h.Flags != nil {
		mux.HandleFunc("GET /flagz", h.serveFlagz)
	}
	if h.Status == nil {
		return
	}
	var paths []string
	mux.HandleFunc("GET /statusz", func(w http.ResponseWriter, r *http.Request) { h.Status.serve(w, r, paths) })
	paths = served(mux)
}

// served are the first parts of the paths that a server of ours answers.
func served(mux *http.ServeMux) []string {
	var out []string
	for _, root := range roots() {
		for _, sample := range []string{"/" + root, "/" + root + "/", "/" + root + "/pprof/", "/" + root + "/flags/v", "/" + root + "/a/b", "/" + root + "/a/b/c"} {
			for _, method := range []string{http.MethodGet, http.MethodPost} {
				_, pattern := mux.Handler(&http.Request{Method: method, URL: &url.URL{Path: sample}})
				if pattern != "" && !slices.Contains(out, "/"+root) {
					out = append(out, "/"+root)
				}
			}
		}
	}
	slices.Sort(out)
	return out
}

func (s *Status) serve(w http.ResponseWriter, r *http.Request, paths []string) {
	c := s.Clock
	if c == nil {
		c = clock.RealClock{}
	}
	up := int64(c.Since(s.Started) / time.Second)
	page := statusz{
		TypeMeta: zPageType("Statusz"), ObjectMeta: metav1.ObjectMeta{Name: component}, StartTime: metav1.NewTime(s.Started),
		UptimeSeconds: up, GoVersion: runtime.Version(), BinaryVersion: s.Version, Paths: paths,
	}
	writeZPage(w, r, page.Kind, page, fmt.Sprintf(
		zPageHeader+"\nStarted: %s\nUp: %d hr %02d min %02d sec\nGo version: %s\nBinary version: %s\n\nPaths: %s\n",
		component, "statusz", s.Started.Format(time.UnixDate), up/3600, up/60%60, up%60, page.GoVersion, page.BinaryVersion,
		strings.Join(paths, " ")))
}

func (h Handlers) serveFlagz(w http.ResponseWriter, r *http.Request) {
	page := flagz{TypeMeta: zPageType("Flagz"), ObjectMeta: metav1.ObjectMeta{Name: component}, Flags: h.Flags()}
	var text strings.Builder
	fmt.Fprintf(&text, zPageHeader, component, "flagz")
	for _, name := range slices.Sorted(maps.Keys(page.Flags)) {
		fmt.Fprintf(&text, "%s=%s\n", name, page.Flags[name])
	}
	writeZPage(w, r, page.Kind, page, text.String())
}

func zPageType(kind string) metav1.TypeMeta {
	return metav1.TypeMeta{Kind: kind, APIVersion: zPagesGroup + "/" + zPagesVersion}
}

// writeZPage writes what the client accepts first: text, or JSON if it names the very kind.
func writeZPage(w http.ResponseWriter, r *http.Request, kind string, page any, text string) {
	accept := r.Header.Get("Accept")
	if strings.TrimSpace(accept) == "" {
		accept = "text/plain"
	}
	for part := range strings.SplitSeq(accept, ",") {
		media, params, err := mime.ParseMediaType(part)
		switch {
		case err != nil:
		case media == "text/plain", media == "text/*", media == "*/*":
			writePlain(w, http.StatusOK, text)
			return
		case media == "application/json" && params["g"] == zPagesGroup && params["v"] == zPagesVersion && params["as"] == kind:
			writeJSON(w, http.StatusOK, page)
			return
		}
	}
	http.Error(w, fmt.Sprintf("only text/plain and application/json;g=%s;v=%s;as=%s are served", zPagesGroup, zPagesVersion, kind),
		http.StatusNotAcceptable)
}

func writePlain(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(code)
	_, _ = io.WriteString(w, text) // fails when the client is gone
}

// maxVerbosity is more than the length of any number that means something.
const maxVerbosity = 16

// serveVerbosity is PUT /debug/flags/v with the number as body.
func (h Handlers) serveVerbosity(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPut {
		writePlain(w, http.StatusNotAcceptable, "unsupported http method\n")
		return
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxVerbosity))
	if err != nil {
		writePlain(w, http.StatusBadRequest, "error reading request body: "+err.Error()+"\n")
		return
	}
	v, err := strconv.ParseUint(string(body), 10, 31)
	if err != nil {
		writePlain(w, http.StatusBadRequest, fmt.Sprintf("want a verbosity, a number from 0 (got %q)\n", body))
		return
	}
	h.SetVerbosity(int(v))
	writePlain(w, http.StatusOK, fmt.Sprintf("successfully set klog.logging.verbosity to %d\n", v))
}

// serveCheckpoint answers as a kubelet whose runtime cannot do it: the memory of a guest is not a process's.
func (h Handlers) serveCheckpoint(w http.ResponseWriter, r *http.Request) {
	pod := h.pod(w, r)
	if pod == nil {
		return
	}
	container := r.PathValue("container")
	if !hasContainer(pod, container) {
		http.Error(w, fmt.Sprintf("container %s does not exist", container), http.StatusNotFound)
		return
	}
	http.Error(w, fmt.Sprintf("checkpointing of %s/%s/%s failed (guests of WebAssembly cannot be checkpointed)",
		pod.Namespace, pod.Name, container), http.StatusInternalServerError)
}
