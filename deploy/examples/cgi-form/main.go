// Command cgi-form shows a form and what was filled in. It is an ordinary net/http handler that the standard library's
// package net/http/cgi runs for one request.
package main

import (
	"fmt"
	"html"
	"net/http"
	"net/http/cgi" //nolint:gosec // what gosec means was mended in Go 1.6.3
	"os"
)

const page = `<!doctype html>
<title>form</title>
<p>%s</p>
<form method="post"><input name="name" autofocus><button>Greet</button></form>
`

func main() {
	http.HandleFunc("/{$}", form)
	if err := cgi.Serve(nil); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func form(w http.ResponseWriter, r *http.Request) {
	text := "What is your name?"
	if name := r.PostFormValue("name"); name != "" {
		text = "Hello " + html.EscapeString(name) + "!"
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = fmt.Fprintf(w, page, text)
}
