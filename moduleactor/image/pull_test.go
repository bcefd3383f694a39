package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func reasonOf(t *testing.T, err error) Reason {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("error is %T %v, want an *Error", err, err)
	}
	return e.Reason
}

func TestPolicies(t *testing.T) {
	reg := plainRegistry(t)
	ref, first := reg.push(t, "hello:v1", cncf(coreModule))
	s := openStore(t)

	_, err := s.Ensure(t.Context(), ref, Never)
	if got := reasonOf(t, err); got != ErrImageNeverPull {
		t.Errorf("reason is %s, want ErrImageNeverPull", got)
	}
	if want := `Container image "` + ref + `" is not present with pull policy of Never`; err.Error() != want {
		t.Errorf("message is %q, want %q", err, want)
	}

	if img := mustEnsure(t, s, ref, IfNotPresent); img.Present {
		t.Error("a pulled image says it was present")
	}
	reg.forgetRequests()
	for _, p := range []PullPolicy{IfNotPresent, Never, ""} {
		if img := mustEnsure(t, s, ref, p); !img.Present {
			t.Errorf("policy %q: an image that was there does not say so", p)
		}
	}
	if n := reg.requests("/v2/"); n != 0 {
		t.Errorf("%d requests for an image that was there, want none", n)
	}

	// Always asks, and gets only the manifest when nothing changed.
	if img := mustEnsure(t, s, ref, Always); img.Present || !strings.HasSuffix(img.ID, first) {
		t.Errorf("Always: present %t, id %s; want what the registry has, not present", img.Present, img.ID)
	}
	if n := reg.requests("GET", "/blobs/"); n != 0 {
		t.Errorf("%d blobs were downloaded again", n)
	}
	_, second := reg.push(t, "hello:v1", cncf(otherModule("v2")))
	if img := mustEnsure(t, s, ref, IfNotPresent); img.Manifest != first {
		t.Errorf("IfNotPresent follows the registry to %s", img.Manifest)
	}
	if img := mustEnsure(t, s, ref, Always); img.Manifest != second {
		t.Errorf("Always gives %s, want the new %s", img.Manifest, second)
	}
	if img := mustEnsure(t, s, ref, Never); img.Manifest != second {
		t.Errorf("Never gives %s, want the new %s", img.Manifest, second)
	}

	// Always with the registry down is an error although the image is here, as with the kubelet.
	reg.Close()
	_, err = s.Ensure(t.Context(), ref, Always)
	if got := reasonOf(t, err); got != RegistryUnavailable {
		t.Errorf("reason is %s (%v), want RegistryUnavailable", got, err)
	}
	if want := "image pull failed for " + ref + " because the registry is unavailable: "; !strings.HasPrefix(err.Error(), want) {
		t.Errorf("message is %q, want it to begin with %q", err, want)
	}
	mustEnsure(t, s, ref, IfNotPresent)

	_, err = s.Ensure(t.Context(), ref, "Sometimes")
	if err == nil || !strings.Contains(err.Error(), `unknown pull policy "Sometimes" (allowed: Always, IfNotPresent, Never)`) {
		t.Errorf("unknown policy: %v", err)
	}
}

// TestStoreOutlivesProcess opens the directory anew, as the next daemon does.
func TestStoreOutlivesProcess(t *testing.T) {
	reg := plainRegistry(t)
	ref, _ := reg.push(t, "hello:v1", tarImage(t, entrypointConfig, tarOf(t, file{name: "app.wasm", content: string(coreModule)})))
	s := openStore(t)
	want := mustEnsure(t, s, ref, IfNotPresent)
	again := openStore(t, func(c *Config) { c.Dir = s.cfg.Dir })
	got := mustEnsure(t, again, ref, Never)
	want.Present, want.Took, want.Waited, got.Took = true, 0, 0, 0
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-before +after):\n%s", diff)
	}
}

// TestDamagedStore takes things away under the store; what cannot be used is pulled again, and never given out.
func TestDamagedStore(t *testing.T) {
	reg := plainRegistry(t)
	ref, digest := reg.push(t, "hello:v1", tarImage(t, entrypointConfig, tarOf(t, file{name: "app.wasm", content: string(coreModule)})))
	tests := map[string]func(d disk, img Image) string{
		"module gone":    func(_ disk, img Image) string { return img.Module },
		"record gone":    func(d disk, _ Image) string { return filepath.Join(d.image(digest[7:]), recordFile) },
		"image dir gone": func(d disk, _ Image) string { return d.image(digest[7:]) },
	}
	for name, victim := range tests {
		t.Run(name, func(t *testing.T) {
			s := openStore(t)
			img := mustEnsure(t, s, ref, IfNotPresent)
			if err := os.RemoveAll(victim(s.disk, img)); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Ensure(t.Context(), ref, Never); reasonOf(t, err) != ErrImageNeverPull {
				t.Errorf("damaged image with Never: %v", err)
			}
			again := mustEnsure(t, s, ref, IfNotPresent)
			if diff := cmp.Diff(coreModule, readFile(t, again.Module)); diff != "" {
				t.Error(diff)
			}
		})
	}
	t.Run("index is garbage", func(t *testing.T) {
		s := openStore(t)
		if err := os.WriteFile(s.disk.index(), []byte("{"), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := s.Ensure(t.Context(), ref, IfNotPresent)
		if reasonOf(t, err) != ImageInspectError || !strings.Contains(err.Error(), "Failed to inspect image") {
			t.Errorf("error is %v, want ImageInspectError", err)
		}
	})
}

// TestOneDownload asks for one image from many goroutines; each blob is downloaded once.
func TestOneDownload(t *testing.T) {
	reg := plainRegistry(t)
	ref, _ := reg.push(t, "hello:v1", cncf(coreModule))
	alias, _ := reg.push(t, "hello:v2", cncf(coreModule))
	const callers = 20
	release := make(chan struct{})
	reg.breakWith(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if strings.Contains(r.URL.Path, "/blobs/") {
			<-release
		}
		next.ServeHTTP(w, r)
	})
	s := openStore(t)
	reg.forgetRequests()
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			if img, err := s.Ensure(t.Context(), []string{ref, alias}[i%2], Always); err != nil || img.Digest != digestOf(coreModule) {
				t.Errorf("caller %d: %v, %v", i, img, err)
			}
		})
	}
	// Both pulls are held at their first blob, the config, which they share, until all callers have joined them.
	eventually(t, "all callers wait", func() bool {
		s.pulls.mu.Lock()
		defer s.pulls.mu.Unlock()
		n := 0
		for _, f := range s.pulls.byID {
			n += f.waiters
		}
		return n == callers
	})
	close(release)
	wg.Wait()
	for _, digest := range []string{digestOf(coreModule), digestOf([]byte(cncf(coreModule).config))} {
		if n := reg.requests("GET", digest); n != 1 {
			t.Errorf("blob %s was downloaded %d times, want once", digest, n)
		}
	}
}

// TestBoundedPulls counts how many images are downloaded at a time.
func TestBoundedPulls(t *testing.T) {
	reg := plainRegistry(t)
	const images, limit = 8, 2
	var refs []string
	for i := range images {
		ref, _ := reg.push(t, fmt.Sprintf("hello%d:v1", i), cncf(otherModule(strconv.Itoa(i))))
		refs = append(refs, ref)
	}
	var now, most atomic.Int32
	reg.breakWith(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if strings.Contains(r.URL.Path, "/manifests/") {
			n := now.Add(1)
			defer now.Add(-1)
			for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
			}
		}
		next.ServeHTTP(w, r)
	})
	s := openStore(t, func(c *Config) { c.MaxParallelPulls = limit })
	var wg sync.WaitGroup
	for _, ref := range refs {
		wg.Go(func() { mustEnsure(t, s, ref, IfNotPresent) })
	}
	wg.Wait()
	if m := most.Load(); m > limit {
		t.Errorf("%d pulls at a time, want at most %d", m, limit)
	}
}

// TestCanceledPull: who gives up does not disturb who still waits; when the last gives up, the download ends.
func TestCanceledPull(t *testing.T) {
	reg := plainRegistry(t)
	ref, _ := reg.push(t, "hello:v1", cncf(coreModule))
	asked, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	reg.breakWith(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if strings.Contains(r.URL.Path, digestOf(coreModule)) {
			once.Do(func() { close(asked) })
			select {
			case <-release:
			case <-r.Context().Done():
				return
			}
		}
		next.ServeHTTP(w, r)
	})
	s := openStore(t)
	first, giveUp := context.WithCancel(t.Context())
	errs := make(chan error, 2)
	go func() {
		_, err := s.Ensure(first, ref, IfNotPresent)
		errs <- err
	}()
	<-asked
	giveUp()
	if err := <-errs; !errors.Is(err, context.Canceled) {
		t.Fatalf("error is %v, want canceled", err)
	}
	close(release)
	if img := mustEnsure(t, s, ref, IfNotPresent); img.Digest != digestOf(coreModule) {
		t.Errorf("after the canceled pull: %+v", img)
	}
}

func TestFlights(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g flights[int]
		var begun, ended atomic.Int32
		work := func(ctx context.Context) (int, error) {
			begun.Add(1)
			defer ended.Add(1)
			select {
			case <-ctx.Done():
				return 0, ctx.Err()
			case <-time.After(time.Second):
				return 7, nil
			}
		}
		impatient, cancel := context.WithCancel(t.Context())
		got := make(chan error, 3)
		go func() { _, err := g.do(impatient, "a", work); got <- err }()
		synctest.Wait()
		go func() { _, err := g.do(t.Context(), "a", work); got <- err }()
		synctest.Wait()
		cancel()
		if err := <-got; !errors.Is(err, context.Canceled) {
			t.Errorf("impatient caller got %v", err)
		}
		if err := <-got; err != nil || begun.Load() != 1 {
			t.Errorf("patient caller got %v after %d flights, want the one result", err, begun.Load())
		}

		// The last caller's end is the work's end, and do returns after it.
		last, cancel := context.WithCancel(t.Context())
		go func() { _, err := g.do(last, "b", work); got <- err }()
		synctest.Wait()
		cancel()
		if err := <-got; !errors.Is(err, context.Canceled) {
			t.Errorf("last caller got %v", err)
		}
		if begun.Load() != ended.Load() {
			t.Errorf("%d flights began, %d ended", begun.Load(), ended.Load())
		}

		// Who comes while a canceled flight is still ending waits for its end and then starts a new one.
		hurried, cancel := context.WithCancel(t.Context())
		slow := func(ctx context.Context) (int, error) {
			<-ctx.Done()
			time.Sleep(time.Second) //nolint:forbidigo // in a synctest bubble: no time passes
			return 0, ctx.Err()
		}
		go func() { _, err := g.do(hurried, "d", slow); got <- err }()
		synctest.Wait()
		cancel()
		synctest.Wait()
		if v, err := g.do(t.Context(), "d", work); v != 7 || err != nil {
			t.Errorf("after a canceled flight: %d, %v", v, err)
		}
		if err := <-got; !errors.Is(err, context.Canceled) {
			t.Errorf("hurried caller got %v", err)
		}
		tooHurried, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := g.do(tooHurried, "d", work); !errors.Is(err, context.Canceled) {
			t.Errorf("canceled caller got %v", err)
		}

		_, err := g.do(t.Context(), "c", func(context.Context) (int, error) { panic("boom") })
		if err == nil || !strings.Contains(err.Error(), "crash: boom") {
			t.Errorf("a panic became %v", err)
		}
		if len(g.byID) != 0 {
			t.Errorf("%d flights are left", len(g.byID))
		}
	})
}

// bigModule is a module that takes several reads.
func bigModule(n int) []byte {
	m := bytes.Clone(coreModule)
	body := make([]byte, n)
	for i := range body {
		body[i] = byte(i * 7 / 3)
	}
	section := append([]byte{1, 'x'}, body...)
	m = append(m, 0)
	for v := len(section); ; v >>= 7 {
		if v < 0x80 {
			m = append(m, byte(v))
			break
		}
		m = append(m, byte(v)|0x80)
	}
	return append(m, section...)
}

// ranged serves one blob with ranges, each answer cut off after chunk bytes.
func ranged(content []byte, chunk int, ranges bool) func(http.ResponseWriter, *http.Request, http.Handler) {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Method != http.MethodGet || !strings.Contains(r.URL.Path, digestOf(content)) {
			next.ServeHTTP(w, r)
			return
		}
		rest := content
		status := http.StatusOK
		if from, ok := strings.CutPrefix(r.Header.Get("Range"), "bytes="); ok && ranges {
			n, _ := strconv.Atoi(strings.TrimSuffix(from, "-"))
			rest, status = content[n:], http.StatusPartialContent
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", n, len(content)-1, len(content)))
		}
		w.Header().Set("Content-Length", strconv.Itoa(len(rest)))
		w.WriteHeader(status)
		if len(rest) > chunk {
			_, _ = w.Write(rest[:chunk])
			panic(http.ErrAbortHandler)
		}
		_, _ = w.Write(rest)
	}
}

func TestResume(t *testing.T) {
	content := bigModule(1 << 20)
	tests := map[string]struct {
		ranges   bool
		chunk    int
		requests int // 0: the pull fails
	}{
		"ranges":                      {ranges: true, chunk: 200_000, requests: 6},
		"no ranges, once is enough":   {ranges: false, chunk: 2 << 20, requests: 1},
		"no ranges, never enough":     {ranges: false, chunk: 200_000},
		"ranges, but too little each": {ranges: true, chunk: 1000},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			reg := plainRegistry(t)
			ref, _ := reg.push(t, "big:v1", cncf(content))
			reg.breakWith(ranged(content, tt.chunk, tt.ranges))
			reg.forgetRequests()
			var most atomic.Int64
			s := openStore(t, func(c *Config) {
				c.Progress = func(p Progress) {
					if p.Total == int64(len(content)) {
						most.Store(max(most.Load(), p.Done))
					}
				}
			})
			img, err := s.Ensure(t.Context(), ref, IfNotPresent)
			n := reg.requests("GET", digestOf(content))
			if tt.requests == 0 {
				if reasonOf(t, err) != RegistryUnavailable || n > 8 {
					t.Errorf("error is %v after %d requests, want RegistryUnavailable after a few", err, n)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if n != tt.requests || most.Load() != int64(len(content)) {
				t.Errorf("%d requests and %d bytes reported, want %d and %d", n, most.Load(), tt.requests, len(content))
			}
			if !bytes.Equal(readFile(t, img.Module), content) {
				t.Error("the module is not what was pushed")
			}
		})
	}
}

// TestResumeAfterCrash continues a download of an earlier process, and does not trust it.
func TestResumeAfterCrash(t *testing.T) {
	content := bigModule(300_000)
	digest := digestOf(content)
	wrong := bytes.Clone(content[:100_000])
	wrong[500] ^= 1
	tests := map[string]struct {
		left     []byte
		ranges   bool
		requests int
	}{
		"half of it":              {left: content[:150_000], ranges: true, requests: 1},
		"all of it":               {left: content, ranges: true, requests: 0},
		"wrong bytes":             {left: wrong, ranges: true, requests: 2},
		"too much":                {left: append(bytes.Clone(content), 1), ranges: true, requests: 1},
		"server without ranges":   {left: content[:150_000], ranges: false, requests: 1},
		"wrong and of right size": {left: bytes.Repeat([]byte{1}, len(content)), ranges: true, requests: 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			reg := plainRegistry(t)
			ref, _ := reg.push(t, "big:v1", cncf(content))
			reg.breakWith(ranged(content, 1<<20, tt.ranges))
			s := openStore(t)
			part := filepath.Join(s.disk.ingest(), digest[7:]+".part")
			if err := os.WriteFile(part, tt.left, 0o600); err != nil {
				t.Fatal(err)
			}
			reg.forgetRequests()
			img := mustEnsure(t, s, ref, IfNotPresent)
			if n := reg.requests("GET", digest); n != tt.requests {
				t.Errorf("%d requests, want %d", n, tt.requests)
			}
			if !bytes.Equal(readFile(t, img.Module), content) {
				t.Error("the module is not what was pushed")
			}
			if names, err := os.ReadDir(s.disk.ingest()); err != nil || len(names) != 0 {
				t.Errorf("left in ingest: %v, %v", names, err)
			}
		})
	}
}

// TestTwoWriters: a download that another process is busy with is left alone.
func TestTwoWriters(t *testing.T) {
	reg := plainRegistry(t)
	ref, _ := reg.push(t, "hello:v1", cncf(coreModule))
	s := openStore(t)
	busy, err := s.disk.openPartial(digestOf(coreModule)[7:])
	if err != nil {
		t.Fatal(err)
	}
	defer busy.close()
	if img := mustEnsure(t, s, ref, IfNotPresent); !bytes.Equal(readFile(t, img.Module), coreModule) {
		t.Error("the module is not what was pushed")
	}
	if !linked(busy.f, busy.f.Name()) {
		t.Error("the other process's file is gone")
	}
}
