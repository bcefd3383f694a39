// Package route makes the addresses of Pods addresses of this machine, without an interface for each and without
// namespaces: one local route for the whole network.
package route

import (
	"fmt"
	"net"
	"net/netip"
)

// loopback is local on every machine.
func loopback() netip.Prefix { return netip.PrefixFrom(netip.AddrFrom4([4]byte{127}), 8) }

// EnsureLocal has every address of an IPv4 network be local, as `ip route add local NETWORK dev lo` does. It is no error
// that it is so already. The route stays when the process ends: guests that use it outlive it.
func EnsureLocal(network netip.Prefix) error {
	if lo := loopback(); lo.Bits() <= network.Bits() && lo.Contains(network.Addr()) {
		return nil
	}
	err := add(network)
	if err == nil || isLocal(network) { // somebody else has seen to it, for more than this network maybe
		return nil
	}
	return fmt.Errorf("make podCIDR %s local: %w", network, err)
}

// isLocal tells whether the first and the last address can be listened on.
func isLocal(network netip.Prefix) bool {
	last := network.Addr().As4()
	for bit := network.Bits(); bit < 32; bit++ {
		last[bit/8] |= 0x80 >> (bit % 8)
	}
	for _, a := range []netip.Addr{network.Addr().Next(), netip.AddrFrom4(last).Prev()} {
		l, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(a, 0)))
		if err != nil {
			return false
		}
		_ = l.Close()
	}
	return true
}
