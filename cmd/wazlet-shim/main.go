// Command wazlet-shim runs one guest, runs a command beside one, or compiles one module. The daemon starts it; `wazlet try` does too. It is a binary
// of its own because there is one process of it for each container: it links no Kubernetes client and no actor system.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"runtime"
	"runtime/debug"
	"slices"

	"github.com/wazlet/wazlet/moduleactor/bundle"
)

const usage = `wazlet-shim runs WebAssembly guests for wazlet.

  wazlet-shim run --bundle DIR                 run the attempt that DIR/spec.json describes
  wazlet-shim exec --bundle DIR [--cgroups DIR:DIR] -- COMMAND...   run COMMAND beside that attempt's guest, in those cgroups and
                                               the attempt's; fd 3 must be the daemon's pipe
  wazlet-shim serve --dir DIR --root DIR --cache DIR --logs DIR [-- HOSTDIR...]   run many attempts, which a daemon hands over, with
                                               volumes in the HOSTDIRs
  wazlet-shim compile --module FILE --cache DIR [--metered true] [--tables N]   compile FILE into the cache, for serve if metered,
                                               with tables of N elements at most; exit code 65: the module is refused
  wazlet-shim version                          print the version
`

// Exit codes besides the guest's own.
const (
	codeFailed        = 1
	codeUsage         = 2
	codeInvalidModule = bundle.ExitInvalidModule
)

// version is set by the linker (-X main.version=...).
var version string //nolint:gochecknoglobals // the linker sets it

func main() {
	os.Exit(run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	if len(args) == 0 {
		fmt.Fprint(stderr, usage)
		return codeUsage
	}
	switch args[0] {
	case "run":
		return runCommand(ctx, args[1:], stdin, stdout, stderr)
	case "exec":
		return execCommand(ctx, args[1:], stdin, stdout, stderr)
	case "serve":
		return serveCommand(ctx, args[1:], stderr)
	case "compile":
		return compileCommand(ctx, args[1:], stderr)
	case "version", "--version":
		fmt.Fprintln(stdout, versionLine())
		return 0
	case "help", "-h", "--help":
		fmt.Fprint(stdout, usage)
		return 0
	default:
		fmt.Fprintf(stderr, "wazlet-shim: unknown command %q; allowed: run, exec, serve, compile, version\n", args[0])
		return codeUsage
	}
}

// parse parses flags that are all required, and nothing else.
func parse(name string, args []string, stderr io.Writer, flags map[string]*string) error {
	rest, err := parseFlags(name, args, stderr, flags)
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("unexpected argument %q", rest[0])
	}
	return err
}

// parseFlags parses flags that are all required, unless they have a value already, and returns what follows them.
func parseFlags(name string, args []string, stderr io.Writer, flags map[string]*string) (rest []string, err error) {
	set := flag.NewFlagSet("wazlet-shim "+name, flag.ContinueOnError)
	set.SetOutput(stderr)
	for f, v := range flags {
		set.StringVar(v, f, *v, "")
	}
	if err := set.Parse(args); err != nil {
		return nil, err
	}
	var errs []error
	for _, f := range slices.Sorted(maps.Keys(flags)) {
		if *flags[f] == "" {
			errs = append(errs, fmt.Errorf("--%s is required", f))
		}
	}
	return set.Args(), errors.Join(errs...)
}

func versionLine() string {
	v, engine := version, "unknown"
	if info, ok := debug.ReadBuildInfo(); ok {
		if v == "" {
			v = info.Main.Version
		}
		for _, d := range info.Deps {
			if d.Path == "github.com/tetratelabs/wazero" {
				engine = d.Version
			}
		}
	}
	return fmt.Sprintf("wazlet-shim %s (wazero %s, %s, %s/%s)", v, engine, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
