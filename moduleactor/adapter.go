package moduleactor

import (
	"context"
	"errors"
	"fmt"

	"github.com/wazlet/wazlet/moduleactor/bundle"
)

// FromBundle makes a Runtime of the real one.
func FromBundle(r *bundle.Runtime) Runtime { return bundles{r} }

type bundles struct{ runtime *bundle.Runtime }

func (b bundles) Compile(ctx context.Context, module, digest string, metered bool) error {
	return b.runtime.Compile(ctx, module, digest, metered)
}

// Start starts an attempt. An earlier attempt of the container that still runs has no actor any more, or this one would
// not be started: it is ended first, since two incarnations must never be alive at once.
func (b bundles) Start(ctx context.Context, spec bundle.Spec, limits bundle.Limits) (Process, error) {
	p, err := b.runtime.Start(ctx, spec, limits)
	if errors.Is(err, bundle.ErrBusy) {
		if err := b.endOther(ctx, spec); err != nil {
			return nil, err
		}
		p, err = b.runtime.Start(ctx, spec, limits)
	}
	if err != nil {
		return nil, err
	}
	return p, nil
}

func (b bundles) endOther(ctx context.Context, spec bundle.Spec) error {
	// Not Scan: that would clear away the attempt that is being prepared here.
	running, err := b.runtime.Running(spec.PodUID, spec.Container)
	if err != nil {
		return err
	}
	for _, id := range running {
		p, err := b.runtime.Adopt(ctx, id)
		if err != nil {
			return fmt.Errorf("adopt %s, which still runs: %w", id, err)
		}
		if err := p.Signal(true); err != nil {
			return fmt.Errorf("end %s, which still runs: %w", id, err)
		}
		if _, err := p.Wait(ctx); err != nil {
			return fmt.Errorf("wait for the end of %s: %w", id, err)
		}
	}
	return nil
}

func (b bundles) Adopt(ctx context.Context, id bundle.ID) (Process, error) {
	p, err := b.runtime.Adopt(ctx, id)
	if err != nil {
		return nil, err
	}
	return p, nil
}
