// Package stats makes the stats/v1alpha1.Summary of a node out of samples that others take. It knows neither cgroups nor
// processes nor actors: the daemon gives it functions.
//
//	samples of containers ─► meters ─► cumulative values that never fall, rates ─┐
//	sample of the machine ─► meter ──────────────────────────────────────────────┼─► Summary
//	directories of Pods ───► walker, once a minute ──► bytes and files ──────────┘
//
// Nothing runs in the background: a node that nobody asks measures nothing. A rate is that between two samples which are
// at least RatePeriod apart, the first of which may be the container's start.
package stats
