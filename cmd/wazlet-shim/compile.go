package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/wazlet/wazlet/moduleactor/engine"
)

// compileCommand fills the cache for one module. When it fails stderr has one line that says why; the exit code tells a
// module that is refused from everything else.
func compileCommand(ctx context.Context, args []string, stderr io.Writer) int {
	var file, cache string
	metered := "false"
	err := parse("compile", args, stderr, map[string]*string{"module": &file, "cache": &cache, "metered": &metered})
	if err == nil && metered != "true" && metered != "false" {
		err = fmt.Errorf("--metered: want true or false (got %q)", metered)
	}
	if err != nil {
		fmt.Fprintln(stderr, "wazlet-shim compile:", err)
		return codeUsage
	}
	err = compile(ctx, file, cache, metered == "true")
	if err == nil {
		return 0
	}
	fmt.Fprintln(stderr, strings.Join(strings.Fields(err.Error()), " "))
	if _, ok := errors.AsType[*engine.InvalidModule](err); ok {
		return codeInvalidModule
	}
	return codeFailed
}

func compile(ctx context.Context, file, cache string, metered bool) error {
	m, err := openModule(file)
	if err != nil {
		return err
	}
	p, err := engine.Load(ctx, engine.Source{Code: m.bytes, CacheDir: cache, Meter: metered})
	if err != nil {
		return err
	}
	return errors.Join(p.CacheError(), p.Close(ctx))
}
