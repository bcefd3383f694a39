// Package moduleactortest has concrete fakes of what a module actor needs: images that are scripted, and a runtime whose
// guests live in memory. They run on an injected clock, so they fit into a testing/synctest bubble.
package moduleactortest

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/wazlet/wazlet/actors"
	"github.com/wazlet/wazlet/moduleactor/image"
)

// Images is a moduleactor.Images in memory. The zero value has every image at once.
type Images struct {
	Clock actors.Clock
	// Script says what a pull does; nil: every pull succeeds at once.
	Script func(ref string, nth int) Pull

	mu    sync.Mutex
	pulls map[string]int
}

// Pull is what one call of EnsureWith does.
type Pull struct {
	// Took is how long it takes, Deaf that it does not obey its context.
	Took time.Duration
	Deaf bool
	// Reason, if set, makes it fail with Text. Panic makes it panic.
	Reason image.Reason
	Text   string
	Panic  bool
	// Image is completed with Ref, ID, Module, Digest and Name where they are empty.
	Image image.Image
}

// EnsureWith implements moduleactor.Images.
func (i *Images) EnsureWith(ctx context.Context, ref string, _ image.PullPolicy, _ image.Keys) (image.Image, error) {
	p := i.next(ref)
	if p.Panic {
		panic("images: scripted panic")
	}
	if p.Took > 0 {
		if err := pause(ctx, i.Clock, p.Took, p.Deaf); err != nil {
			return image.Image{}, &image.Error{Reason: image.ErrImagePull, Err: err}
		}
	}
	if p.Reason != "" {
		return image.Image{}, &image.Error{Reason: p.Reason, Err: errors.New(p.Text)}
	}
	img := p.Image
	img.Ref, img.Took = ref, p.Took
	fill(&img.ID, ref+"@sha256:0000")
	fill(&img.Module, "/images/module.wasm")
	fill(&img.Digest, "sha256:0000")
	fill(&img.Name, "module.wasm")
	return img, nil
}

// Pulls is how often an image was asked for.
func (i *Images) Pulls(ref string) int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.pulls[ref]
}

func (i *Images) next(ref string) Pull {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.pulls == nil {
		i.pulls = map[string]int{}
	}
	n := i.pulls[ref]
	i.pulls[ref]++
	if i.Script == nil {
		return Pull{}
	}
	return i.Script(ref, n)
}

func fill(s *string, v string) {
	if *s == "" {
		*s = v
	}
}

// pause waits for d, or until ctx is done unless deaf.
func pause(ctx context.Context, clock actors.Clock, d time.Duration, deaf bool) error {
	done := ctx.Done()
	if deaf {
		done = nil
	}
	t := clock.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C():
		return nil
	case <-done:
		return ctx.Err()
	}
}
