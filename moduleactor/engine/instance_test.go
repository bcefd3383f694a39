package engine

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wazlet/wazlet/moduleactor/engine/enginetest"
)

func load(t *testing.T, code []byte) *Program {
	t.Helper()
	p, err := Load(t.Context(), Source{Code: code})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return p
}

// TestInstances runs many instances of a program, some at a time, which leave their mark in all of their memory: none must
// see that of another.
func TestInstances(t *testing.T) {
	p := load(t, enginetest.C(t, "fresh.c"))
	b := NewBudget(8 << 20)
	var wg sync.WaitGroup
	for client := range 4 {
		wg.Go(func() {
			for n := range 20 {
				name := fmt.Sprintf("%d-%d", client, n)
				i, err := p.Instantiate(t.Context(), NewMemory(1<<20).Within(b))
				if err != nil {
					t.Error(err)
					return
				}
				var out bytes.Buffer
				res := i.Run(t.Context(), Guest{Args: []string{"fresh", "WHO"}, Env: []string{"WHO=" + name}, Stdout: &out})
				if err := i.Close(t.Context()); err != nil {
					t.Error(err)
				}
				if d := cmp.Diff(Result{Reason: Completed}, res); d != "" || out.String() != name+" 0\n" {
					t.Errorf("%q %s", out.String(), d)
				}
			}
		})
	}
	wg.Wait()
	if b.Used() != 0 {
		t.Errorf("%d bytes are not given back", b.Used())
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}

func TestBudget(t *testing.T) {
	const page = 64 << 10
	p := load(t, enginetest.Command(2, nil, 0x41, 1, 0x40, 0, 0x41, 0x7f, 0x46, 0x04, 0x40, 0x00, 0x0b)) // memory.grow(1) == -1: unreachable
	b := NewBudget(4*page + 1)
	first, err := p.Instantiate(t.Context(), NewMemory(0).Within(b))
	if err != nil {
		t.Fatal(err)
	}
	second, err := p.Instantiate(t.Context(), NewMemory(0).Within(b))
	if err != nil {
		t.Fatal(err)
	}
	const full = "the memory of all instances reached its limit of 262145 bytes"
	if _, err := p.Instantiate(t.Context(), NewMemory(0).Within(b)); err == nil || err.Error() != full {
		t.Errorf("a third: %v", err)
	}
	if res := first.Run(t.Context(), Guest{}); res.Reason != OOMKilled || res.Code != CodeOOMKilled || !bytes.HasPrefix([]byte(res.Message), []byte(full)) {
		t.Errorf("grown beyond it: %+v", res)
	}
	if err := first.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if d := cmp.Diff(Result{Reason: Completed}, second.Run(t.Context(), Guest{})); d != "" {
		t.Error(d)
	}
	if err := second.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if b.Used() != 0 || b.Close() != nil {
		t.Errorf("%d bytes are not given back", b.Used())
	}
}

// Code that a module runs at its instantiation is the guest's: it has to wait for Run.
func TestInstanceWithStartSection(t *testing.T) {
	code := enginetest.Module(
		enginetest.Section(1, enginetest.Type(nil, nil)),
		enginetest.Section(3, enginetest.U32(0), enginetest.U32(0)),
		enginetest.Section(7, enginetest.Export("_start", 0, 0)),
		enginetest.RawSection(8, enginetest.U32(1)),
		enginetest.Section(10, enginetest.Body(), enginetest.Body(0x00)), // unreachable
	)
	i, err := load(t, code).Instantiate(t.Context(), NewMemory(0))
	if err != nil {
		t.Fatal(err)
	}
	if res := i.Run(t.Context(), Guest{}); res.Reason != Trap {
		t.Errorf("%+v", res)
	}
	if err := i.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestInstantiateRefuses(t *testing.T) {
	p := load(t, enginetest.Command(2, nil))
	_, err := p.Instantiate(t.Context(), NewMemory(64<<10))
	if err == nil {
		t.Fatal("it has more memory than it may")
	}
	if res := p.Run(t.Context(), Guest{Memory: NewMemory(64 << 10)}); res.Message != err.Error() || res.Reason != StartError {
		t.Errorf("%v, but %+v", err, res)
	}
}
