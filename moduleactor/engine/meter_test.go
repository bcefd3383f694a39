package engine_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wazlet/wazlet/moduleactor/engine"
	"github.com/wazlet/wazlet/moduleactor/engine/enginetest"
)

func loadMetered(t *testing.T, code []byte, cache string) *engine.Program {
	t.Helper()
	p, err := engine.Load(t.Context(), engine.Source{Code: code, Meter: true, CacheDir: cache})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return p
}

// spin is a guest that computes without end.
func spin() []byte { return enginetest.Command(1, nil, 0x03, 0x40, 0x0c, 0, 0x0b) }

// TestMeteredStops: a guest that never calls the host ends with its context.
func TestMeteredStops(t *testing.T) {
	start := enginetest.Module(
		enginetest.Section(1, enginetest.Type(nil, nil)),
		enginetest.Section(3, enginetest.U32(0)),
		enginetest.Section(7, enginetest.Export("_start", 0, 0)),
		enginetest.RawSection(8, enginetest.U32(0)),
		enginetest.Section(10, enginetest.Body(0x03, 0x40, 0x0c, 0, 0x0b)),
	)
	want := engine.Result{Code: 7, Reason: engine.Error, Message: "enough"}
	for name, code := range map[string][]byte{"_start": spin(), "start section": start} {
		t.Run(name, func(t *testing.T) {
			p := loadMetered(t, code, "")
			ctx, stop := context.WithCancelCause(t.Context())
			cpu := &engine.CPU{}
			go func() {
				tick := time.NewTicker(time.Millisecond)
				defer tick.Stop()
				for cpu.Used() == 0 { // until it runs
					<-tick.C
				}
				stop(&engine.Stop{Result: want})
			}()
			if diff := cmp.Diff(want, p.Run(ctx, engine.Guest{CPU: cpu})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestMeteredQuota: a guest with a tenth of a CPU gets no more, and can be stopped while it waits for its share.
func TestMeteredQuota(t *testing.T) {
	p := loadMetered(t, spin(), "")
	const run = 500 * time.Millisecond
	ctx, cancel := context.WithTimeout(t.Context(), run)
	defer cancel()
	cpu := &engine.CPU{}
	begin := time.Now()
	if res := p.Run(ctx, engine.Guest{CPU: cpu, CPUMillicores: 100}); res.Reason != engine.Stopped {
		t.Errorf("%+v", res)
	}
	// It may use the share of a period at once, and what it does between two ticks.
	most := (time.Since(begin)+100*time.Millisecond)/10 + 20*time.Millisecond
	if used := cpu.Used(); used <= 0 || used > most {
		t.Errorf("used %v of CPU, at most %v", used, most)
	}
}

// TestMeteredGuests: real guests do what they do without the meter.
func TestMeteredGuests(t *testing.T) {
	for name, tc := range map[string]struct {
		code []byte
		args []string
	}{
		"C":  {enginetest.C(t, "hello.c"), []string{"hello", "a", "b"}},
		"Go": {enginetest.Go(t, "../../../cmd/wazlet-bench/guests/compute"), []string{"compute"}},
	} {
		t.Run(name, func(t *testing.T) {
			guest := func(p *engine.Program) (engine.Result, string) {
				var out bytes.Buffer
				res := p.Run(t.Context(), engine.Guest{Args: tc.args, Stdout: &out, Stderr: &out})
				return res, out.String()
			}
			dir := t.TempDir()
			want, wantOut := guest(load(t, tc.code))
			for range 2 { // once from the cache
				got, gotOut := guest(loadMetered(t, tc.code, dir))
				if diff := cmp.Diff(want, got); diff != "" || gotOut != wantOut || gotOut == "" {
					t.Errorf("%s, output %q, want %q", diff, gotOut, wantOut)
				}
			}
		})
	}
}

// TestKeptModuleIsDamaged: what a crash left of a rewritten module is made again.
func TestKeptModuleIsDamaged(t *testing.T) {
	code := enginetest.C(t, "hello.c")
	for name, damage := range map[string]func(good []byte) []byte{
		"empty":        func([]byte) []byte { return nil },
		"truncated":    func(good []byte) []byte { return good[:len(good)/2] },
		"flipped bits": func(good []byte) []byte { good[len(good)/2] ^= 1; return good },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			loadMetered(t, code, dir)
			kept, err := filepath.Glob(filepath.Join(dir, "*/rewritten-*"))
			if err != nil || len(kept) != 1 || !strings.Contains(kept[0], strings.TrimPrefix(engine.Digest(code), "sha256:")) {
				t.Fatalf("kept %q, %v", kept, err)
			}
			good, err := os.ReadFile(kept[0])
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(kept[0], damage(bytes.Clone(good)), 0o600); err != nil {
				t.Fatal(err)
			}
			p := loadMetered(t, code, dir)
			var out bytes.Buffer
			if res := p.Run(t.Context(), engine.Guest{Args: []string{"hello"}, Stdout: &out}); res.Reason != engine.Completed || p.CacheError() != nil {
				t.Errorf("%+v, %v", res, p.CacheError())
			}
			if again, err := os.ReadFile(kept[0]); err != nil || !bytes.Equal(again, good) {
				t.Errorf("it was not made again: %v", err)
			}
		})
	}
}

// TestMeteredStack: calls are nested as deeply as the limit says, in _start and in a start section.
func TestMeteredStack(t *testing.T) {
	start := enginetest.Module(
		enginetest.Section(1, enginetest.Type(nil, nil)),
		enginetest.Section(3, enginetest.U32(0), enginetest.U32(0)),
		enginetest.Section(7, enginetest.Export("_start", 0, 1)),
		enginetest.RawSection(8, enginetest.U32(0)),
		enginetest.Section(10, enginetest.Body(0x10, 0), enginetest.Body()),
	)
	for name, code := range map[string][]byte{"_start": enginetest.Command(1, nil, 0x10, 0), "start section": start} {
		for limit, text := range map[int64]string{0: "8388608", 1 << 20: "1048576"} {
			t.Run(name+" "+text, func(t *testing.T) {
				want := engine.Result{
					Code: 134, Reason: engine.Trap,
					Message: "wasm error: stack overflow: calls are nested too deeply (" + text + " bytes), or without end",
				}
				if diff := cmp.Diff(want, loadMetered(t, code, "").Run(t.Context(), engine.Guest{MaxStack: limit})); diff != "" {
					t.Error(diff)
				}
			})
		}
	}
}

// TestTablesAreCapped in both kinds of modules.
func TestTablesAreCapped(t *testing.T) {
	// It grows a table to 101 elements or, if that is refused, traps.
	code := enginetest.Module(
		enginetest.Section(1, enginetest.Type(nil, nil)),
		enginetest.Section(3, enginetest.U32(0)),
		enginetest.Section(4, []byte{0x70, 0, 1}),
		enginetest.Section(7, enginetest.Export("_start", 0, 0)),
		enginetest.Section(10, enginetest.Body(0xd0, 0x70, 0x41, 0xe4, 0, 0xfc, 0x0f, 0, 0x41, 0x7f, 0x46, 0x04, 0x40, 0x00, 0x0b)),
	)
	for _, metered := range []bool{false, true} {
		for limit, want := range map[uint32]engine.Reason{0: engine.Completed, 101: engine.Completed, 100: engine.Trap} {
			p, err := engine.Load(t.Context(), engine.Source{Code: code, Meter: metered, MaxTable: limit})
			if err != nil {
				t.Fatal(err)
			}
			if res := p.Run(t.Context(), engine.Guest{}); res.Reason != want {
				t.Errorf("metered %v, limit %d: %+v", metered, limit, res)
			}
			if err := p.Close(t.Context()); err != nil {
				t.Error(err)
			}
		}
	}
	_, err := engine.Load(t.Context(), engine.Source{Code: bytes.Replace(code, []byte{0x70, 0, 1}, []byte{0x70, 0, 2}, 1), MaxTable: 1})
	if err == nil || !strings.Contains(err.Error(), "its tables start with 2 elements or more; at most 1 are allowed") {
		t.Errorf("got %v", err)
	}
}
