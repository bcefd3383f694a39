//go:build race

package actorstest_test

// traceRuns is how often the same seed is run again.
const traceRuns = 50
