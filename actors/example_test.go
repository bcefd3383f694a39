package actors_test

import (
	"fmt"
	"time"

	"github.com/wazlet/wazlet/actors"
)

// A container with restartPolicy Always that fails as soon as it is started.
func ExampleDecide() {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	backoff := actors.DefaultSupervision().Module.Backoff.Backoff()
	var history actors.History
	for range 4 {
		exit := actors.Exit{Reason: actors.ReasonError, Code: 1, StartedAt: now, FinishedAt: now}
		v := actors.Decide(actors.Permanent, backoff, exit, history, now)
		fmt.Println(v.Directive, v.Delay)
		history, now = v.History, now.Add(v.Delay)
	}
	// Output:
	// Restart 0s
	// Restart 10s
	// Restart 20s
	// Restart 40s
}
