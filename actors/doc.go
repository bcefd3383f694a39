// Package actors is what the node, pod and module actors have in common: the actor system with its armour, supervision as
// a pure decision, clock and timers, the event stream, and the registry that shows every actor from outside.
//
// It is a leaf: it imports none of our other packages.
package actors
