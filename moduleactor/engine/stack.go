package engine

import (
	"fmt"
	"reflect"

	"github.com/tetratelabs/wazero/api"
)

// DefaultMaxStack is how much stack the nested calls of a metered guest can take.
const DefaultMaxStack = 8 << 20

// gauge tells how much stack a call takes that is in the host just now. wazero lets stacks grow up to some 84 MB, which no
// limit counts, and tells nobody; so it is read from the fields that wazero keeps for its own use, which TestStackIsBounded
// pins.
type gauge struct{ top, pointer reflect.Value }

// gaugeOf is the gauge of a call that is about to be made.
func gaugeOf(call api.Function) (g gauge, err error) {
	v := reflect.Indirect(reflect.ValueOf(call))
	if v.Kind() == reflect.Struct {
		g.top = v.FieldByName("stackTop")
		if ctx := v.FieldByName("execCtx"); ctx.Kind() == reflect.Struct {
			g.pointer = ctx.FieldByName("stackPointerBeforeGoCall")
		}
	}
	if g.top.Kind() != reflect.Uintptr || g.pointer.Kind() != reflect.Pointer {
		return g, fmt.Errorf("%T does not tell how much stack it takes: this wazero is not the one that wazlet was made for", call)
	}
	return g, nil
}

// used is in bytes; nothing without a call.
func (g gauge) used() int64 {
	if !g.top.IsValid() {
		return 0
	}
	return int64(g.top.Uint()) - int64(g.pointer.Pointer())
}

// stackOverflow is what a tick panics with when the guest has too much stack.
type stackOverflow struct{ used, limit int64 }

func (e *stackOverflow) Error() string { return tooDeep(fmt.Sprintf("%d bytes", e.limit)) }

func tooDeep(limit string) string {
	return "wasm error: stack overflow: calls are nested too deeply (" + limit + "), or without end"
}
