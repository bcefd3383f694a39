package actors

import (
	"fmt"

	"github.com/asynkron/protoactor-go/actor"
)

// Fail ends the current instance of an actor: its mailbox is suspended and its supervisor's HandleFailure is given
// reason, which is an Exit or a Crash. Nothing is unwound: return right after it.
func Fail(ctx actor.Context, reason any) {
	s, ok := ctx.(actor.Supervisor)
	if !ok { // a context decorator hides it
		panic(fmt.Sprintf("actors.Fail in %s: the context is decorated", ctx.Self().GetId()))
	}
	s.EscalateFailure(reason, ctx.Message())
}
