package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/wazlet/wazlet/cmd/wazlet/route"
	"github.com/wazlet/wazlet/nodeactor"
	"github.com/wazlet/wazlet/nodeactor/podcidr"
)

const (
	// networkRetry is how often a network that is not there is tried again, networkCheck how often one that is there.
	networkRetry = 10 * time.Second
	networkCheck = time.Minute
	// standaloneHostIP is the address of a node that nobody else has to reach.
	standaloneHostIP = "127.0.0.1"
)

// network finds out where the addresses of Pods come from, and makes them addresses of this machine.
type network struct {
	log *zap.Logger
	// configured is podCIDR; empty: what the Node object says.
	configured string
	maxPods    int
	ensure     func(netip.Prefix) error
	// hostIP is the node's own address, empty while it has none. It may take some time.
	hostIP func() string
	news   chan []string // podCIDRs of the Node object, the latest ones

	mu      sync.Mutex
	cidrs   []string
	current nodeactor.Network
}

// newNetwork makes one that has not looked yet.
func newNetwork(log *zap.Logger, podCIDR string, maxPods int, hostIP func() string) *network {
	return &network{
		log: log, configured: podCIDR, maxPods: maxPods, ensure: route.EnsureLocal, hostIP: hostIP,
		news: make(chan []string, 1),
	}
}

// onPodCIDRs hears of the Node object's podCIDRs.
func (n *network) onPodCIDRs(cidrs []string) {
	select {
	case <-n.news: // not taken yet, and out of date now
	default:
	}
	n.news <- cidrs
}

// run keeps the network until ctx ends, and tells of it: again and again, for the node actor may lose a message to a bug.
func (n *network) run(ctx context.Context, tell func(n nodeactor.Network, changed bool)) {
	for {
		wait := networkCheck
		if s := n.state(); s.Problem != "" || s.HostIP == "" {
			wait = networkRetry
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case cidrs := <-n.news:
			n.mu.Lock()
			n.cidrs = cidrs
			n.mu.Unlock()
		case <-timer.C:
		}
		timer.Stop()
		tell(n.look())
	}
}

// state is the latest.
func (n *network) state() nodeactor.Network {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.current
}

// ready says why Pods get no addresses, in the kubelet's words.
func (n *network) ready() error {
	if p := n.state().Problem; p != "" {
		return errors.New(p)
	}
	return nil
}

// look finds the network out anew.
func (n *network) look() (next nodeactor.Network, changed bool) {
	n.mu.Lock()
	cidrs, before := n.cidrs, n.current
	n.mu.Unlock()
	next = n.find(cidrs)
	next.HostIP = cmp.Or(n.hostIP(), before.HostIP) // which one that is lost for moments goes on to be
	if next != before {
		n.report(next)
	}
	n.mu.Lock()
	n.current = next
	n.mu.Unlock()
	return next, next != before
}

func (n *network) find(cidrs []string) nodeactor.Network {
	if n.configured != "" {
		cidrs = []string{n.configured}
	}
	if len(cidrs) == 0 {
		return notReady("NoPodCIDR", errors.New("the Node object has no podCIDR yet, and the configuration of wazlet names none "+
			"(a controller manager gives one with --allocate-node-cidrs)"))
	}
	cidr, ignored, err := podcidr.Choose(cidrs)
	if err != nil {
		return notReady("InvalidPodCIDR", fmt.Errorf("podCIDR: %w", err))
	}
	if len(ignored) > 0 {
		n.log.Debug("pods get addresses of one network only", zap.Stringer("cidr", cidr), zap.Strings("ignored", ignored))
	}
	if err := n.ensure(cidr.Prefix()); err != nil {
		return notReady("NoRoute", err)
	}
	return nodeactor.Network{CIDR: cidr}
}

func notReady(reason string, err error) nodeactor.Network {
	return nodeactor.Network{Problem: fmt.Sprintf("container runtime network not ready: NetworkReady=false reason:%s message:%v", reason, err)}
}

func (n *network) report(next nodeactor.Network) {
	if next.HostIP == "" {
		n.log.Warn("the node has no address; Pods that need it wait")
	}
	switch size := next.CIDR.Size(); {
	case next.Problem != "":
		n.log.Warn("pods get no addresses; it will be tried again", zap.String("reason", next.Problem))
	case size < n.maxPods:
		n.log.Warn("maxPods is more than podCIDR has addresses: the Pods beyond it will wait",
			zap.Stringer("cidr", next.CIDR), zap.Int("addresses", size), zap.Int("max_pods", n.maxPods))
	default:
		n.log.Info("pods get addresses", zap.Stringer("cidr", next.CIDR))
	}
}

// hostIP is the node's own address, which is that of Pods with hostNetwork, too.
func (d *daemon) hostIP() string {
	if d.cluster != nil {
		return d.cluster.hostIP()
	}
	return cmp.Or(d.Config.NodeIP, standaloneHostIP)
}
