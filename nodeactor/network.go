package nodeactor

import (
	"fmt"
	"net/netip"

	corev1 "k8s.io/api/core/v1"

	"github.com/wazlet/wazlet/actors"
	"github.com/wazlet/wazlet/nodeactor/podcidr"
	"github.com/wazlet/wazlet/podactor"
)

// Network is where the addresses of Pods come from. With the zero value Pods have none, and need none.
type Network struct {
	CIDR podcidr.CIDR
	// HostIP is the node's own address; empty while it has none.
	HostIP string
	// Problem is why no address can be given now, in words that follow "network is not ready: ". Empty: they can.
	Problem string
}

// hands tells whether Pods get addresses, now or later.
func (n Network) hands() bool { return n.CIDR.IsValid() || n.Problem != "" }

// onConnect replaces the network. Pods that have an address keep it; those that wait may have one now.
func (t *turn) onConnect(ev Connect) {
	moved := ev.Network.HostIP != t.network.HostIP
	t.network = ev.Network
	if moved {
		t.tellHostIP()
	}
	t.connectWaiting()
}

// tellHostIP tells all Pods of the node's address.
func (t *turn) tellHostIP() {
	for _, known := range t.all() {
		p := t.find(known.uid)
		p.start.Network.HostIP = t.network.HostIP
		if p.stage == stageLive { // any other is told when it is back
			t.do(tell{p.uid, podactor.Connect{Network: p.start.Network}})
		}
	}
}

// connect gives a Pod an address of its own, unless it has one or needs none. It is the Pod's until it has ended.
func (t *turn) connect(p *pod) {
	p.start.Network.HostIP = t.network.HostIP
	if p.ip.IsValid() || p.wanted.Spec.HostNetwork || !t.network.hands() {
		return
	}
	if t.network.Problem != "" {
		p.start.Network = t.wait(actors.ReasonNetworkNotReady, "network is not ready: "+t.network.Problem)
		return
	}
	ip, ok := t.network.CIDR.Next(t.lastIP, t.taken)
	if !ok {
		p.start.Network = t.wait(actors.ReasonFailedCreatePodSandBox, fmt.Sprintf(
			"Failed to create pod sandbox: podCIDR %s has no free address for the Pod (it has %d)", t.network.CIDR, t.network.CIDR.Size()))
		return
	}
	t.lastIP = ip
	t.hold(p, ip)
}

func (t *turn) wait(reason actors.Reason, message string) podactor.Network {
	return podactor.Network{HostIP: t.network.HostIP, Wait: &podactor.Wait{Reason: reason, Message: message}}
}

// hold notes that an address is a Pod's.
func (t *turn) hold(p *pod, ip netip.Addr) {
	p.ip, t.given[ip] = ip, p.uid
	p.start.Network = podactor.Network{IP: ip.String(), HostIP: t.network.HostIP}
}

// holder is the UID of the Pod that has an address; empty for none.
func (t *turn) holder(ip netip.Addr) string {
	uid, ok := t.given[ip]
	if !ok {
		uid, ok = t.held[ip]
	}
	if !ok {
		return ""
	}
	if p, seen := t.after[uid]; seen && (p == nil || p.ip != ip) {
		return "" // it was released meanwhile
	}
	return uid
}

func (t *turn) taken(ip netip.Addr) bool { return t.holder(ip) != "" }

// release takes the address of a Pod back that has ended. Its status goes on to show it.
func (t *turn) release(p *pod) {
	if p.ip.IsValid() {
		p.ip = netip.Addr{}
		t.connectWaiting()
	}
}

// waitsForAddress tells whether an address would help the Pod.
func (p *pod) waitsForAddress() bool {
	return p.start.Network.Wait != nil && !p.ending && (p.stage == stageLive || p.stage == stageBackOff)
}

// connectWaiting gives addresses to the Pods that wait for one, the first come first, and tells the others why not.
func (t *turn) connectWaiting() {
	if t.state == stateDraining {
		return
	}
	for _, known := range t.inOrder((*pod).waitsForAddress) {
		before := *known.start.Network.Wait
		p := t.find(known.uid)
		t.connect(p)
		w := p.start.Network.Wait
		if w != nil && *w == before {
			continue
		}
		if p.stage == stageLive { // any other is told when it is back
			t.do(tell{p.uid, podactor.Connect{Network: p.start.Network}})
		}
	}
}

// reconnect gives the recovered Pods back the addresses they had, and then addresses to those that had none.
func (t *turn) reconnect() {
	for _, known := range t.all() {
		p := t.find(known.uid)
		p.start.Network.HostIP = t.network.HostIP
		c := p.start.Checkpoint
		if c == nil || !holdsAddress(&c.State) {
			continue
		}
		if ip, err := netip.ParseAddr(c.State.PodIP); err == nil { // which a checkpoint that was read has been checked for
			t.restore(p, ip)
		}
	}
	for _, known := range t.all() {
		if p := t.find(known.uid); p.start.Checkpoint != nil && !p.ending && p.start.Checkpoint.State.Outcome == nil {
			t.connect(p)
		}
	}
}

// holdsAddress tells whether a Pod that was checkpointed may have something running on its address.
func holdsAddress(s *podactor.State) bool {
	return s.Stage != podactor.StageFinished && s.Stage != podactor.StageRejected && s.Stage != podactor.StageEnded
}

// restore gives a Pod back its address. Should two claim the same, which no daemon wrote, the first one has it.
func (t *turn) restore(p *pod, ip netip.Addr) {
	uid := t.holder(ip)
	if uid == "" {
		t.hold(p, ip)
		if c := t.network.CIDR; t.lastIP.Less(ip) && (!c.IsValid() || c.Contains(ip)) {
			t.lastIP = ip // what was released not long before this daemon is likely to lie before the others
		}
		return
	}
	t.do(observe{actors.Notice{
		Time: t.now, Pod: refOf(p.wanted), Warning: true, Reason: actors.ReasonFailed,
		Message: fmt.Sprintf("The checkpoint says that the Pod has address %s, which is that of %s: it gets another one", ip, nameOf(t.find(uid))),
	}})
}

func nameOf(p *pod) string {
	if p == nil || p.wanted == nil {
		return "another Pod"
	}
	return p.wanted.Namespace + "/" + p.wanted.Name
}

// isOver tells whether a status is that of a Pod of which nothing runs any more.
func isOver(s corev1.PodStatus) bool {
	return s.Phase == corev1.PodSucceeded || s.Phase == corev1.PodFailed
}
