// Package actorstest runs actors under test, in one of three ways:
//
//   - Simulation: a seeded scheduler with its own clock. Everything happens on one goroutine at a time, in an order that
//     the seed decides: the same seed gives the same trace. For whole trees with fakes for everything outside.
//   - Bubble: real goroutines and the real clock inside a testing/synctest bubble, so that an hour takes no time.
//   - Recorder: an Observer to wait on, for tests with real goroutines in real time.
package actorstest
