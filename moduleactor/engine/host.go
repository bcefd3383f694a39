package engine

import (
	"context"
	"fmt"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"

	"github.com/wazlet/wazlet/moduleactor/engine/wasm"
)

// exitStatus is what proc_exit panics with, and so the way an exit leaves the guest's stack.
type exitStatus uint32

func (s exitStatus) Error() string { return fmt.Sprintf("exit status %d", uint32(s)) }

// provide instantiates the WASI modules that the program imports.
func (p *Program) provide(ctx context.Context) error {
	if p.provided {
		return nil
	}
	imported := map[string]bool{}
	for _, i := range p.module.Imports {
		imported[i.Module] = true
	}
	preview1 := p.runtime.NewHostModuleBuilder(wasm.Preview1Module)
	wasi_snapshot_preview1.NewFunctionExporter().ExportFunctions(preview1)
	replace(preview1, "proc_exit", procExit, []api.ValueType{api.ValueTypeI32}, nil)
	compiled, err := preview1.Compile(ctx)
	if err != nil {
		return fmt.Errorf("provide %s: %w", wasm.Preview1Module, err)
	}
	if imported[wasm.Preview1Module] {
		if _, err := p.runtime.InstantiateModule(ctx, compiled, wazero.NewModuleConfig().WithName(wasm.Preview1Module)); err != nil {
			return fmt.Errorf("provide %s: %w", wasm.Preview1Module, err)
		}
	}
	if imported[wasm.UnstableModule] {
		if err := provideUnstable(ctx, p.runtime, compiled.ExportedFunctions()); err != nil {
			return fmt.Errorf("provide %s: %w", wasm.UnstableModule, err)
		}
	}
	p.provided = true
	return nil
}

func replace(b wazero.HostModuleBuilder, name string, f api.GoModuleFunc, params, results []api.ValueType) {
	b.NewFunctionBuilder().WithGoModuleFunction(f, params, results).WithName(name).Export(name)
}

func procExit(_ context.Context, _ api.Module, stack []uint64) {
	panic(exitStatus(uint32(stack[0])))
}
