package actors_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const protoactor = "github.com/asynkron/protoactor-go/"

// bannedMethods must not be called in a file that imports protoactor.
var bannedMethods = map[string]string{
	"RequestFuture":        "a future may give both a result and a timeout: use actors.Ask",
	"StopFuture":           "it waits for 10 s, whatever you want: use System.StopTree",
	"PoisonFuture":         "a suspended actor never reads its poison: use System.StopTree",
	"Poison":               "a suspended actor never reads its poison: use Stop",
	"SetReceiveTimeout":    "it races with its own timer: use System.After",
	"CancelReceiveTimeout": "it races with its own timer: use System.After",
	"ReenterAfter":         "it runs in suspended actors, and on the old instance after a restart: use System.Go",
	"Stash":                "it loses the sender and replays backwards, and only after a restart: keep a queue in the state",
	"SpawnPrefix":          "it panics, and nobody can find such a name again: use SpawnNamed",
}

// bannedFuncs of package actor must not be used, except in package actors where it says so.
var bannedFuncs = map[string]struct {
	why      string
	inActors bool
}{
	"NewFuture":                     {"it races with its own timeout: use actors.Ask", false},
	"Bounded":                       {"it blocks the sender, which then cannot be stopped: bound at the source", false},
	"BoundedDropping":               {"it spins for ever after the first message that it drops: bound at the source", false},
	"UnboundedPriority":             {"it forgets the priority of a request: use one actor for each urgency", false},
	"NewOneForOneStrategy":          {"it restarts at once: implement HandleFailure with actors.Decide", false},
	"NewAllForOneStrategy":          {"it restarts at once: implement HandleFailure with actors.Decide", false},
	"NewRestartingStrategy":         {"it restarts at once, for ever: implement HandleFailure with actors.Decide", false},
	"NewExponentialBackoffStrategy": {"it is linear and has no limit: implement HandleFailure with actors.Decide", false},
	"WithSupervisor":                {"an actor is its own strategy: implement HandleFailure", false},
	"WithContextDecorator":          {"it hides the supervisor from actors.Fail: use a receiver middleware", false},
	"WithDefaultPrometheusProvider": {"it serves 0.0.0.0:2222 and swallows errors: use the registry", false},
	"NewBehavior":                   {"a state must be printable: use an enum and a pure step", false},
	"NewActorSystem":                {"it has no armour: use actors.New", true},
	"NewActorSystemWithConfig":      {"it has no armour: use actors.New", true},
	"PropsFromProducer":             {"such an actor has no armour: use System.Props", true},
	"PropsFromFunc":                 {"such an actor has no armour: use System.Props", true},
	"WithGuardian":                  {"a guardian's panic ends the process: use System.SpawnRoot", true},
}

// bannedPackages of protoactor must not be imported.
var bannedPackages = map[string]string{
	"router": "it has data races", "scheduler": "timers come from System.After",
	"plugin": "it leaks goroutines and exits the process", "persistence": "the bundles on disk are our store",
	"remote": "this is one process", "cluster": "this is one process", "testkit": "use actorstest",
}

// bans finds what the file does that notes/protoactor.md says must not be done.
func bans(fset *token.FileSet, f *ast.File, inActors bool) []string {
	b := &banned{fset: fset, inActors: inActors, packages: map[string]string{}}
	for _, i := range f.Imports {
		b.imported(i)
	}
	ast.Inspect(f, b.inspect)
	return b.found
}

type banned struct {
	fset     *token.FileSet
	inActors bool
	packages map[string]string // local name -> path
	found    []string
}

func (b *banned) say(n ast.Node, what, why string) {
	b.found = append(b.found, fmt.Sprintf("%s: %s: %s", b.fset.Position(n.Pos()), what, why))
}

func (b *banned) imported(i *ast.ImportSpec) {
	path, _ := strconv.Unquote(i.Path.Value)
	name := path[strings.LastIndexByte(path, '/')+1:]
	if i.Name != nil {
		name = i.Name.Name
	}
	b.packages[name] = path
	if sub, ok := strings.CutPrefix(path, protoactor); ok {
		sub, _, _ = strings.Cut(sub, "/")
		if why, ok := bannedPackages[sub]; ok {
			b.say(i, path, why)
		}
	}
}

func (b *banned) inspect(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.SelectorExpr:
		b.selector(n)
	case *ast.CallExpr:
		b.call(n)
	case *ast.FuncDecl:
		if n.Recv != nil && n.Name.Name == "GetMessages" && b.usesProtoactor() {
			b.say(n, "GetMessages", "protoactor delivers a batch item by item, and then once more as a whole")
		}
	}
	return true
}

func (b *banned) usesProtoactor() bool {
	for _, path := range b.packages {
		if strings.HasPrefix(path, protoactor) {
			return true
		}
	}
	return false
}

func (b *banned) selector(n *ast.SelectorExpr) {
	name := n.Sel.Name
	if id, ok := n.X.(*ast.Ident); ok {
		switch b.packages[id.Name] {
		case protoactor + "actor":
			if f, ok := bannedFuncs[name]; ok && (!f.inActors || !b.inActors) {
				b.say(n, "actor."+name, f.why)
			}
			return
		case "runtime":
			if name == "Goexit" {
				b.say(n, "runtime.Goexit", "it deafens an actor: return")
			}
			return
		}
	}
	if !b.usesProtoactor() {
		return
	}
	if why, ok := bannedMethods[name]; ok {
		b.say(n, name, why)
	}
	if b.inActors {
		return
	}
	switch name {
	case "EscalateFailure":
		b.say(n, name, "use actors.Fail; nothing escalates to a guardian")
	case "EventStream":
		b.say(n, name, "a slow or panicking subscriber blocks or fails the actor that publishes: use System.Observe")
	}
}

func (b *banned) call(n *ast.CallExpr) {
	s, ok := n.Fun.(*ast.SelectorExpr)
	if !ok || !b.usesProtoactor() || len(n.Args) < 2 {
		return
	}
	switch s.Sel.Name {
	case "Send", "Request", "RequestWithCustomSender":
		if id, ok := n.Args[1].(*ast.Ident); ok && id.Name == "nil" {
			b.say(n, s.Sel.Name+" of nil", "a nil message is nothing; raw protoactor spins for ever")
		}
	}
}

// No file of the product does what protoactor cannot bear.
func TestBannedAPI(t *testing.T) {
	fset := token.NewFileSet()
	files := 0
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name := d.Name(); len(name) > 2 && (name[0] == '.' || name == "testdata" || name == "vendor") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(fset, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		files++
		for _, b := range bans(fset, f, filepath.Dir(path) == filepath.Join("..", "actors")) {
			t.Error(b)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 20 {
		t.Errorf("only %d files were looked at", files)
	}
}

// The test above finds what it should.
func TestBansAreFound(t *testing.T) {
	const source = `package p

import (
	"runtime"
	pa "github.com/asynkron/protoactor-go/actor"
	"github.com/asynkron/protoactor-go/router"
)

func f(ctx pa.Context, p *pa.PID, b batch) {
	ctx.RequestFuture(p, 1, 0)
	ctx.Send(p, nil)
	ctx.Stash()
	_ = pa.PropsFromFunc(nil, pa.WithMailbox(pa.BoundedDropping(1)))
	ctx.(pa.Supervisor).EscalateFailure(1, 2)
	ctx.ActorSystem().EventStream.Publish(1)
	runtime.Goexit()
	ctx.Send(p, 1)
}

func (batch) GetMessages() []any { return nil }
`
	find := func(inActors bool) []string {
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, "p.go", source, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, b := range bans(fset, f, inActors) {
			parts := strings.SplitN(b, ":", 5)
			out = append(out, parts[1]+":"+parts[3])
		}
		return out
	}
	want := []string{
		"6: github.com/asynkron/protoactor-go/router", "10: RequestFuture", "11: Send of nil", "12: Stash",
		"13: actor.PropsFromFunc", "13: actor.BoundedDropping", "14: EscalateFailure", "15: EventStream",
		"16: runtime.Goexit", "20: GetMessages",
	}
	if d := cmp.Diff(want, find(false)); d != "" {
		t.Errorf("found (-want +got):\n%s", d)
	}
	inside := []string{want[0], want[1], want[2], want[3], want[5], want[8], want[9]}
	if d := cmp.Diff(inside, find(true)); d != "" {
		t.Errorf("found in package actors (-want +got):\n%s", d)
	}
}
