package engine

import (
	"context"
	"errors"

	"github.com/tetratelabs/wazero/api"
)

// Instance is a guest that is instantiated ahead of its run, so that only _start is left to do. One goroutine uses it.
type Instance struct {
	program *Program
	memory  *Memory
	// module is nil if the module has code that runs at instantiation: that is left to Run, since it is the guest's.
	module api.Module
}

// Instantiate makes an Instance with a memory, which it gives back in the end. It runs no code of the guest.
func (p *Program) Instantiate(ctx context.Context, m *Memory) (*Instance, error) {
	i := &Instance{program: p, memory: m}
	if err := p.canRun(ctx, m); err != nil {
		return nil, err
	}
	if p.module.Start {
		return i, nil
	}
	var err error
	if i.module, err = p.instantiate(ctx, m); err != nil {
		return nil, errors.Join(err, m.close())
	}
	return i, nil
}

// Run is Program.Run for this guest, whose Memory is the instance's. It is called once at most.
func (i *Instance) Run(ctx context.Context, g Guest) Result {
	g.Memory = i.memory
	res := i.program.run(ctx, &g, i.module)
	res.Message = clip(res.Message)
	return res
}

// Close gives back what the instance holds. The guest must not run.
func (i *Instance) Close(ctx context.Context) error {
	var err error
	if i.module != nil {
		err = i.module.Close(ctx)
	}
	return errors.Join(err, i.memory.close())
}
