package engine

import (
	"context"
	"fmt"

	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"

	"github.com/wazlet/wazlet/moduleactor/engine/wasm"
)

// exitStatus is what proc_exit panics with, and so the way an exit leaves the guest's stack.
type exitStatus uint32

func (s exitStatus) Error() string { return fmt.Sprintf("exit status %d", uint32(s)) }

// provide instantiates the WASI modules that the program imports, with the functions that it imports: each costs memory.
func (p *Program) provide(ctx context.Context) error {
	if p.provided {
		return nil
	}
	// wazero's own module is only compiled, to get at its functions.
	b := p.runtime.NewHostModuleBuilder(wasm.Preview1Module)
	wasi_snapshot_preview1.NewFunctionExporter().ExportFunctions(b)
	original, err := b.Compile(ctx)
	if err != nil {
		return fmt.Errorf("provide WASI: %w", err)
	}
	defer func() { _ = original.Close(ctx) }()
	for _, name := range []string{wasm.Preview1Module, wasm.UnstableModule} {
		if err := p.provideModule(ctx, name, original.ExportedFunctions()); err != nil {
			return fmt.Errorf("provide %s: %w", name, err)
		}
	}
	p.provided = true
	return nil
}

func (p *Program) provideModule(ctx context.Context, name string, original map[string]api.FunctionDefinition) error {
	b := p.runtime.NewHostModuleBuilder(name)
	done := map[string]bool{}
	for _, i := range p.module.Imports {
		if i.Module != name || done[i.Name] {
			continue
		}
		done[i.Name] = true
		def, ok := original[i.Name]
		if !ok {
			return fmt.Errorf("no function %s", i.Name) // wasm.Functions lists it, wazero does not have it
		}
		f, ok := def.GoFunction().(api.GoModuleFunction)
		if !ok {
			return fmt.Errorf("function %s is a %T", i.Name, def.GoFunction())
		}
		call := p.preview1(i.Name, f.Call)
		if name == wasm.UnstableModule {
			call = unstable(i.Name, call)
		}
		b.NewFunctionBuilder().WithGoModuleFunction(call, def.ParamTypes(), def.ResultTypes()).WithName(i.Name).Export(i.Name)
	}
	if len(done) == 0 {
		return nil
	}
	_, err := b.Instantiate(ctx)
	return err
}

// preview1 replaces or repairs what wazero does not do as we need it.
func (p *Program) preview1(name string, original api.GoModuleFunc) api.GoModuleFunc {
	switch name {
	case "proc_exit":
		return procExit
	case "poll_oneoff":
		return p.clocks.poll(original)
	default:
		return original
	}
}

// procExit leaves the guest. Unlike wazero's it does not close the instance, which would give back the memory below the
// feet of the functions that are still on the stack.
func procExit(_ context.Context, _ api.Module, stack []uint64) {
	panic(exitStatus(uint32(stack[0])))
}
