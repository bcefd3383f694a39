//go:build !race

package actorstest_test

// traceRuns is how often the same seed is run again. A new actor system costs 5 ms, ten times as much with -race.
const traceRuns = 1000
