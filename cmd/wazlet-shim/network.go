package main

import (
	"net/netip"

	"github.com/wazlet/wazlet/moduleactor/bundle"
	"github.com/wazlet/wazlet/moduleactor/engine/wasi"
	"github.com/wazlet/wazlet/moduleactor/resolver"
)

// guestNetwork is what the sockets that a guest opens may do; nil for a spec without a network.
func guestNetwork(n *bundle.Network) *wasi.Network {
	if n == nil {
		return nil
	}
	policy := n.Egress
	return &wasi.Network{
		Addresses: policy.Own,
		Check:     func(to netip.AddrPort, names []string) error { return policy.Check(to, names...) },
		Lookup:    resolver.New(n.DNS).Lookup,
	}
}
