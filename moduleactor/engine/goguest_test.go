//go:build !race

// With the race detector wazero takes minutes to compile a guest of Go.

package engine_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wazlet/wazlet/moduleactor/engine"
	"github.com/wazlet/wazlet/moduleactor/engine/enginetest"
	"github.com/wazlet/wazlet/moduleactor/engine/wasi"
)

// TestGoServer runs a server of Go on a listener that was opened for it.
func TestGoServer(t *testing.T) {
	l, f := listen(t)
	p := load(t, enginetest.Go(t, "server"))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	signals := make(chan byte, 1)
	out := make(said, 10)
	end := make(chan engine.Result, 1)
	guest := engine.Guest{
		Args: []string{"server"}, Stdout: out, Stderr: out, Root: open(t, t.TempDir(), false),
		Preopens: []wasi.Preopen{{Name: "http", File: f}}, Signals: signals,
	}
	go func() { end <- p.Run(ctx, guest) }()
	if line := <-out; line != "serving" {
		t.Fatal(line)
	}
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	var requests sync.WaitGroup
	for range 4 {
		requests.Go(func() {
			for range 25 {
				resp, err := client.Post("http://"+l.Addr().String()+"/hello", "text/plain", strings.NewReader("you"))
				if err != nil {
					t.Error(err)
					return
				}
				body, err := io.ReadAll(resp.Body)
				if string(body) != "hello you" || err != nil {
					t.Errorf("%q, %v", body, err)
				}
				_ = resp.Body.Close()
			}
		})
	}
	requests.Wait()
	signals <- 15
	if res := <-end; res.Reason != engine.Completed {
		t.Errorf("%+v", res)
	}
	if line := <-out; line != "signal 15" {
		t.Error(line)
	}
}
