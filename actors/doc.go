// Package actors is what the node, pod and module actors have in common: the actor system with its armour, supervision as
// a pure decision, clock and timers, the event stream, and the registry that shows every actor from outside.
//
// It is a leaf: it imports none of our other packages.
//
// # Armour
//
// Protoactor does what it promises as long as nothing goes wrong at a bad moment. What is spawned with System.Props has
// three guards around it that take the bad moments away:
//
//	sender ──> mailbox ──> armed ──────> protoactor's context ──> middleware ──> Receive
//	           nil,        restart of      │                      panics of
//	           too early   the stopped,    └──> spawn             the halting
//	                       panic ─> Crash       taken names
//
// Each hazard is played by a test in raw protoactor and with the armour on (armour_*_test.go), and ban_test.go keeps out
// what no armour helps against.
//
// # What an actor may rely on
//
//   - Started is its first message. After Stopping or Restarting it gets nothing but Terminated of its children, and
//     Stopped after Stopping; HandleFailure is not called, and it cannot spawn. A panic in any of these harms nobody.
//     Messages that wait at a restart are for the next instance.
//   - Messages of its own timers and workers reach the instance that started them, or nobody: neither the instance after
//     a restart, nor the next actor of that name, nor the dead letters.
//   - A child's name is free when its Terminated is being handled, and not before.
//   - A panic anywhere else suspends it and reaches its supervisor's HandleFailure as a Crash.
//
// What it must do itself: return quickly (no kill exists), and put into an Exit whatever the supervisor must know of an
// ending, because failures and Terminated overtake messages that were sent before them.
package actors
