package actors_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wazlet/wazlet/actors"
)

var (
	epoch      = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	kubernetes = actors.DefaultSupervision().Module.Backoff.Backoff()
)

// ended is an attempt that ran for a second and ended at the epoch.
func ended(code int32) actors.Exit {
	return actors.Exit{Code: code, StartedAt: epoch.Add(-time.Second), FinishedAt: epoch}
}

// Every policy with every kind of ending, as in the table of architecture.md §3.
func TestDecidePolicy(t *testing.T) {
	policies := []actors.Restart{actors.Permanent, actors.Transient, actors.Temporary}
	for _, c := range []struct {
		name string
		exit actors.Exit
		want map[actors.Restart]actors.Directive
	}{
		{"exit 0", ended(0), map[actors.Restart]actors.Directive{
			actors.Permanent: actors.DirectiveRestart, actors.Transient: actors.DirectiveStop,
			actors.Temporary: actors.DirectiveStop,
		}},
		{"exit 1", ended(1), map[actors.Restart]actors.Directive{
			actors.Permanent: actors.DirectiveRestart, actors.Transient: actors.DirectiveRestart,
			actors.Temporary: actors.DirectiveStop,
		}},
		{"killed", ended(137), map[actors.Restart]actors.Directive{
			actors.Permanent: actors.DirectiveRestart, actors.Transient: actors.DirectiveRestart,
			actors.Temporary: actors.DirectiveStop,
		}},
		{"crash", actors.Exit{Code: 2, Reason: actors.ReasonCrash}, map[actors.Restart]actors.Directive{
			actors.Permanent: actors.DirectiveRestart, actors.Transient: actors.DirectiveRestart,
			actors.Temporary: actors.DirectiveStop,
		}},
		{"not started", actors.Exit{NotStarted: true}, map[actors.Restart]actors.Directive{
			actors.Permanent: actors.DirectiveRestart, actors.Transient: actors.DirectiveRestart,
			actors.Temporary: actors.DirectiveRestart,
		}},
	} {
		for _, p := range policies {
			t.Run(fmt.Sprintf("%s/%s", c.name, p), func(t *testing.T) {
				got := actors.Decide(p, kubernetes, c.exit, actors.History{}, epoch)
				if got.Directive != c.want[p] {
					t.Errorf("got %s, want %s", got.Directive, c.want[p])
				}
			})
		}
	}
}

// The delays of a Pod that crashes at once, as a kubelet makes them.
func TestDecideKubernetesDelays(t *testing.T) {
	var h actors.History
	for i, want := range []time.Duration{0, 10, 20, 40, 80, 160, 300, 300} {
		v := actors.Decide(actors.Permanent, kubernetes, ended(1), h, epoch)
		if v.Delay != want*time.Second || v.History.Restarts != i+1 {
			t.Errorf("restart %d: after %s with %d restarts, want after %s", i+1, v.Delay, v.History.Restarts,
				want*time.Second)
		}
		h = v.History
	}
}

func TestDecidePullDelays(t *testing.T) {
	h := actors.History{Restarts: 3, Delay: 40 * time.Second}
	for i, want := range []time.Duration{10, 20, 40, 80, 160, 300, 300} {
		v := actors.Decide(actors.Temporary, kubernetes, actors.Exit{NotStarted: true, FinishedAt: epoch}, h,
			epoch.Add(time.Hour))
		if v.Delay != want*time.Second {
			t.Errorf("retry %d: after %s, want %s", i+1, v.Delay, want*time.Second)
		}
		if v.History.Restarts != 3 || v.History.Delay != 40*time.Second {
			t.Errorf("retry %d: a pull must not count as a restart: %+v", i+1, v.History)
		}
		h = v.History
	}
	if v := actors.Decide(actors.Permanent, kubernetes, ended(1), h, epoch); v.History.Pull != 0 {
		t.Errorf("an attempt that started must reset the delay of pulls, got %s", v.History.Pull)
	}
	if v := actors.Decide(actors.Temporary, kubernetes, ended(1), h, epoch); v.History.Pull != 0 {
		t.Errorf("and so when it is not restarted, got %s", v.History.Pull)
	}
}

func TestDecideDelay(t *testing.T) {
	second := actors.History{Restarts: 1, Delay: 10 * time.Second}
	long := actors.Exit{Code: 1, StartedAt: epoch.Add(-10*time.Minute - 1), FinishedAt: epoch}
	for _, c := range []struct {
		name    string
		backoff actors.Backoff
		exit    actors.Exit
		history actors.History
		now     time.Time
		want    actors.Verdict
	}{
		{
			"counts from the end", kubernetes, ended(1), second, epoch.Add(4 * time.Second),
			restartIn(6*time.Second, actors.History{Restarts: 2, Delay: 20 * time.Second}),
		},
		{
			"is over", kubernetes, ended(1), second, epoch.Add(time.Minute),
			restartIn(0, actors.History{Restarts: 2, Delay: 20 * time.Second}),
		},
		{
			"of an end in the future is not longer", kubernetes, ended(1), second, epoch.Add(-time.Hour),
			restartIn(10*time.Second, actors.History{Restarts: 2, Delay: 20 * time.Second}),
		},
		{
			"of an unknown end", kubernetes,
			actors.Exit{Code: 2},
			second, epoch,
			restartIn(10*time.Second, actors.History{Restarts: 2, Delay: 20 * time.Second}),
		},
		{
			"of an unknown start is not forgotten", kubernetes,
			actors.Exit{Code: 2, FinishedAt: epoch},
			second, epoch,
			restartIn(10*time.Second, actors.History{Restarts: 2, Delay: 20 * time.Second}),
		},
		{
			"is forgotten after a long run", kubernetes, long, second, epoch,
			restartIn(0, actors.History{Restarts: 2, Delay: 10 * time.Second}),
		},
		{
			"is not forgotten at exactly that", kubernetes,
			actors.Exit{Code: 1, StartedAt: epoch.Add(-10 * time.Minute), FinishedAt: epoch},
			second, epoch,
			restartIn(10*time.Second, actors.History{Restarts: 2, Delay: 20 * time.Second}),
		},
		{
			"is never forgotten without resetAfter",
			actors.Backoff{Initial: 1, Max: 4, Factor: 2},
			long,
			actors.History{Delay: 2},
			epoch, restartIn(2, actors.History{Restarts: 1, Delay: 4}),
		},
		{
			"has an initial value beyond max",
			actors.Backoff{Initial: 10, Max: 4, Factor: 2},
			ended(1),
			actors.History{},
			epoch, restartIn(0, actors.History{Restarts: 1, Delay: 4}),
		},
		{
			"does not shrink",
			actors.Backoff{Initial: 10, Max: 40, Factor: 0.5},
			ended(1),
			actors.History{Delay: 20},
			epoch, restartIn(20, actors.History{Restarts: 1, Delay: 20}),
		},
		{
			"does not overflow",
			actors.Backoff{Initial: 1, Max: time.Hour, Factor: 1e300},
			ended(1),
			actors.History{Delay: time.Minute},
			epoch,
			restartIn(time.Minute, actors.History{Restarts: 1, Delay: time.Hour}),
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := actors.Decide(actors.Permanent, c.backoff, c.exit, c.history, c.now)
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("verdict (-want +got):\n%s", d)
			}
		})
	}
}

func restartIn(d time.Duration, h actors.History) actors.Verdict {
	return actors.Verdict{Directive: actors.DirectiveRestart, Delay: d, History: h}
}

// Random lives of random children keep to what the policies promise.
func TestDecideProperties(t *testing.T) {
	for seed := range uint64(2000) {
		r := rand.New(rand.NewPCG(seed, 1))
		b := actors.Backoff{
			Initial: time.Duration(1 + r.Int64N(int64(time.Minute))), Max: time.Duration(1 + r.Int64N(int64(5*time.Minute))),
			Factor: 1 + 4*r.Float64(), ResetAfter: time.Duration(1 + r.Int64N(int64(time.Hour))),
		}
		policy := actors.Restart(1 + r.IntN(3))
		now, h, restarts := epoch, actors.History{}, 0
		for step := range 50 {
			x := actors.Exit{Code: int32(r.IntN(3)), NotStarted: r.IntN(4) == 0, FinishedAt: now}
			if !x.NotStarted {
				x.StartedAt = now.Add(-time.Duration(r.Int64N(int64(2 * b.ResetAfter))))
			}
			now = now.Add(time.Duration(r.Int64N(int64(time.Second))))
			v := actors.Decide(policy, b, x, h, now)
			if err := promised(policy, b, x, h, v); err != nil {
				t.Fatalf("seed %d, step %d: %v\npolicy %s, backoff %+v, exit %+v, history %+v, verdict %+v", seed, step, err,
					policy, b, x, h, v)
			}
			if v.Directive == actors.DirectiveStop {
				break
			}
			if !x.NotStarted {
				restarts++
			}
			if v.History.Restarts != restarts {
				t.Fatalf("seed %d, step %d: %d restarts counted, were %d", seed, step, v.History.Restarts, restarts)
			}
			now, h = now.Add(v.Delay), v.History
		}
	}
}

func promised(p actors.Restart, b actors.Backoff, x actors.Exit, h actors.History, v actors.Verdict) error {
	up := x.FinishedAt.Sub(x.StartedAt)
	switch {
	case v.Delay < 0 || v.Delay > b.Max || v.History.Delay > b.Max || v.History.Pull > b.Max:
		return fmt.Errorf("a delay must be from 0 to %s", b.Max)
	case x.NotStarted && (v.Directive != actors.DirectiveRestart || v.Delay == 0):
		return errors.New("what never ran must be tried again, after a delay")
	case x.NotStarted && v.History.Pull < h.Pull:
		return errors.New("the delay of pulls must not shrink")
	case !x.NotStarted && p == actors.Temporary && v.Directive != actors.DirectiveStop:
		return errors.New("temporary is never restarted")
	case !x.NotStarted && p == actors.Permanent && v.Directive != actors.DirectiveRestart:
		return errors.New("permanent is always restarted")
	case v.Directive == actors.DirectiveRestart && !x.NotStarted && up > b.ResetAfter && v.Delay != 0:
		return fmt.Errorf("after %s the delay must be forgotten", up)
	case v.Directive == actors.DirectiveRestart && !x.NotStarted && up <= b.ResetAfter && v.History.Delay < h.Delay:
		return errors.New("the delay must not shrink")
	}
	return nil
}
