package daemon

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/wazlet/wazlet/nodeactor"
)

func testNetwork(podCIDR string, ensure func(netip.Prefix) error) (*network, *observer.ObservedLogs) {
	core, logs := observer.New(zap.DebugLevel)
	n := &network{log: zap.New(core), configured: podCIDR, maxPods: 5, ensure: ensure, news: make(chan []string, 1), hostIP: func() string { return "192.0.2.7" }}
	n.look()
	return n, logs
}

func local(netip.Prefix) error { return nil }

func TestNetworkIsFound(t *testing.T) {
	for name, c := range map[string]struct {
		configured    string
		cidrs         []string
		ensure        func(netip.Prefix) error
		want, problem string
	}{
		"configured":      {configured: "10.1.0.0/24", cidrs: []string{"10.2.0.0/24"}, want: "10.1.0.0/24"},
		"of the node":     {cidrs: []string{"10.2.0.0/24"}, want: "10.2.0.0/24"},
		"dual stack":      {cidrs: []string{"fd00::/64", "10.2.0.0/24"}, want: "10.2.0.0/24"},
		"not known":       {problem: "reason:NoPodCIDR message:the Node object has no podCIDR yet"},
		"of IPv6 alone":   {cidrs: []string{"fd00::/64"}, problem: "reason:InvalidPodCIDR message:podCIDR: none of fd00::/64 can be used"},
		"cannot be local": {configured: "10.1.0.0/24", ensure: func(netip.Prefix) error { return errors.New("not permitted") }, problem: "reason:NoRoute message:not permitted"},
	} {
		t.Run(name, func(t *testing.T) {
			if c.ensure == nil {
				c.ensure = local
			}
			n, _ := testNetwork(c.configured, c.ensure)
			n.cidrs = c.cidrs
			got, _ := n.look()
			if got.Problem != "" && !strings.HasPrefix(got.Problem, "container runtime network not ready: NetworkReady=false reason:") {
				t.Errorf("problem %q is not in the kubelet's words", got.Problem)
			}
			if c.problem != "" {
				if !strings.Contains(got.Problem, c.problem) || got.CIDR.IsValid() || n.ready() == nil {
					t.Errorf("network %+v, ready: %v, want problem %q", got, n.ready(), c.problem)
				}
				return
			}
			if got.Problem != "" || got.CIDR.String() != c.want || n.ready() != nil {
				t.Errorf("network %+v, ready: %v, want %s", got, n.ready(), c.want)
			}
		})
	}
}

// More Pods than addresses is worth a warning, once.
func TestNetworkTooSmall(t *testing.T) {
	n, logs := testNetwork("10.1.0.0/30", local)
	n.look()
	if got := logs.FilterMessageSnippet("maxPods is more than podCIDR").Len(); got != 1 {
		t.Errorf("%d warnings in %v, want 1", got, logs.All())
	}
}

// The Node's podCIDR may come late, and what failed is tried again.
func TestNetworkIsFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var permitted atomic.Bool
		n, _ := testNetwork("", func(netip.Prefix) error {
			if !permitted.Load() {
				return errors.New("not permitted")
			}
			return nil
		})
		type told struct {
			nodeactor.Network
			changed bool
			at      time.Duration
		}
		var got []told
		began := time.Now()
		done := make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			defer close(done)
			n.run(ctx, func(n nodeactor.Network, changed bool) { got = append(got, told{n, changed, time.Since(began)}) })
		}()
		n.onPodCIDRs([]string{"10.1.0.0/24"})
		n.onPodCIDRs([]string{"10.2.0.0/24"})
		synctest.Wait()
		permitted.Store(true)
		<-time.After(networkRetry + networkCheck) // of the bubble
		synctest.Wait()
		cancel()
		<-done
		if len(got) < 3 {
			t.Fatalf("told %+v", got)
		}
		if g := got[len(got)-3]; !strings.Contains(g.Problem, "reason:NoRoute") || g.at != 0 {
			t.Errorf("at first: %+v", g)
		}
		if g := got[len(got)-2]; g.CIDR.String() != "10.2.0.0/24" || !g.changed || g.at != networkRetry {
			t.Errorf("then: %+v", g)
		}
		if g := got[len(got)-1]; g.CIDR.String() != "10.2.0.0/24" || g.changed || g.at != networkRetry+networkCheck {
			t.Errorf("at last: %+v", g)
		}
	})
}

// A machine may get its address after the daemon has started, and another one later; it keeps the last one.
func TestAddressThatComesLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ip atomic.Value
		ip.Store("")
		n, logs := testNetwork("10.1.0.0/24", local)
		n.hostIP = func() string { return ip.Load().(string) } //nolint:errcheck,forcetypeassert // a test's
		n.current = nodeactor.Network{}
		n.look()
		if logs.FilterMessageSnippet("the node has no address").Len() != 1 {
			t.Errorf("nobody is told: %v", logs.All())
		}
		var told []string
		done := make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			defer close(done)
			n.run(ctx, func(n nodeactor.Network, changed bool) { told = append(told, fmt.Sprintf("%s %t", n.HostIP, changed)) })
		}()
		for _, next := range []string{"192.0.2.7", "192.0.2.8", ""} {
			ip.Store(next)
			<-time.After(networkCheck) // of the bubble
			synctest.Wait()
		}
		cancel()
		<-done
		if d := cmp.Diff([]string{"192.0.2.7 true", "192.0.2.8 true", "192.0.2.8 false"}, slices.Compact(told)); d != "" {
			t.Error(d, told)
		}
	})
}
