package debug

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"path"
)

//go:embed assets
var assets embed.FS

// policy lets the page load what comes from here and nothing else.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

func renderPage(node, version string) ([]byte, error) {
	t, err := template.ParseFS(assets, "assets/page.html")
	if err != nil {
		return nil, fmt.Errorf("parse page: %w", err)
	}
	var page bytes.Buffer
	if err := t.Execute(&page, struct{ Node, Version string }{node, version}); err != nil {
		return nil, fmt.Errorf("render page: %w", err)
	}
	return page.Bytes(), nil
}

func (h *handler) servePage(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", policy)
	w.Header().Set("Referrer-Policy", "no-referrer")
	_, _ = w.Write(h.page)
}

func (h *handler) serveStatic(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("file")
	kind := map[string]string{".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}[path.Ext(name)]
	data, err := fs.ReadFile(assets, path.Join("assets", name))
	if err != nil || kind == "" {
		refuse(w, r, http.StatusNotFound, fmt.Sprintf("no file %q", name))
		return
	}
	w.Header().Set("Content-Type", kind+"; charset=utf-8")
	_, _ = w.Write(data)
}
