package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"github.com/wazlet/wazlet/moduleactor/engine"
)

// compileCommand fills the cache for one module. When it fails stderr has one line that says why; the exit code tells a
// module that is refused from everything else.
func compileCommand(ctx context.Context, args []string, stderr io.Writer) int {
	var file, cache string
	metered, tables := "false", "0"
	err := parse("compile", args, stderr, map[string]*string{"module": &file, "cache": &cache, "metered": &metered, "tables": &tables})
	if err == nil && metered != "true" && metered != "false" {
		err = fmt.Errorf("--metered: want true or false (got %q)", metered)
	}
	elements, numErr := strconv.ParseUint(tables, 10, 32)
	if err == nil && numErr != nil {
		err = fmt.Errorf("--tables: want a number of elements, 0 to %d (got %q)", uint32(math.MaxUint32), tables)
	}
	if err != nil {
		fmt.Fprintln(stderr, "wazlet-shim compile:", err)
		return codeUsage
	}
	err = compile(ctx, file, engine.Source{CacheDir: cache, Meter: metered == "true", MaxTable: uint32(elements)})
	if err == nil {
		return 0
	}
	fmt.Fprintln(stderr, strings.Join(strings.Fields(err.Error()), " "))
	if _, ok := errors.AsType[*engine.InvalidModule](err); ok {
		return codeInvalidModule
	}
	return codeFailed
}

func compile(ctx context.Context, file string, src engine.Source) error {
	m, err := openModule(file)
	if err != nil {
		return err
	}
	src.Code = m.bytes
	p, err := engine.Load(ctx, src)
	if err != nil {
		return err
	}
	return errors.Join(p.CacheError(), p.Close(ctx))
}
