package egress

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Policy is what one Pod may reach. It is plain data, which may be kept as JSON.
type Policy struct {
	// Own are the Pod's addresses, which it always reaches.
	Own []netip.Addr `json:"own,omitempty"`
	// Always is what every Pod reaches, whatever Deny says: its name servers.
	Always []Rule `json:"always,omitempty"`
	// Ask is what the Pod's annotation asks for.
	Ask []Rule `json:"ask,omitempty"`
	// Allow is what the node lets Pods ask for, Deny what it never does.
	Allow []Rule `json:"allow,omitempty"`
	Deny  []Rule `json:"deny,omitempty"`
}

// Refused says that a connection is not allowed, and by whom.
type Refused struct {
	To netip.AddrPort
	// Names are those that the guest resolved to the address.
	Names []string
	// Rule is the node's rule that denies it; the zero Rule if no rule allows it.
	Rule Rule
	// ByNode is set when the Pod asks for it and the node does not let it.
	ByNode bool
}

func (e *Refused) Error() string {
	to := e.To.String()
	if len(e.Names) > 0 {
		to += " (" + strings.Join(e.Names, ", ") + ")"
	}
	switch {
	case e.ByNode && e.Rule != (Rule{}):
		return fmt.Sprintf("connection to %s refused: the node's egress.deny has %s", to, e.Rule)
	case e.ByNode:
		return fmt.Sprintf("connection to %s refused: it is not in the node's egress.allow", to)
	default:
		return fmt.Sprintf("connection to %s refused: it is not in the Pod's annotation %s", to, Annotation)
	}
}

// Check tells whether the guest may connect to an address, or send there. Names are those that it resolved to it. The
// error is a *Refused.
func (p Policy) Check(to netip.AddrPort, names ...string) error {
	to = netip.AddrPortFrom(to.Addr().Unmap().WithZone(""), to.Port())
	if slices.Contains(p.Own, to.Addr()) {
		return nil
	}
	known := make([]string, 0, len(names))
	for _, n := range names {
		known = append(known, canonical(n))
	}
	find := func(rules []Rule) int {
		return slices.IndexFunc(rules, func(r Rule) bool { return r.matches(to, known) })
	}
	if find(p.Always) >= 0 {
		return nil
	}
	if find(p.Ask) < 0 {
		return &Refused{To: to, Names: known}
	}
	if i := find(p.Deny); i >= 0 {
		return &Refused{To: to, Names: known, Rule: p.Deny[i], ByNode: true}
	}
	if inner, ok := translated(to.Addr()); ok {
		inner := netip.AddrPortFrom(inner, to.Port())
		if i := slices.IndexFunc(p.Deny, func(r Rule) bool { return r.matches(inner, nil) }); i >= 0 {
			return &Refused{To: to, Names: known, Rule: p.Deny[i], ByNode: true}
		}
	}
	if find(p.Allow) < 0 {
		return &Refused{To: to, Names: known, ByNode: true}
	}
	return nil
}

// The prefixes of IPv6 whose addresses a router turns into those of IPv4 that are in them: NAT64 (RFC 6052, RFC 8215), where they come
// last, and 6to4, where they follow the prefix.
var (
	nat64      = netip.MustParsePrefix("64:ff9b::/96")   //nolint:gochecknoglobals // a constant
	nat64Local = netip.MustParsePrefix("64:ff9b:1::/48") //nolint:gochecknoglobals // a constant
	sixToFour  = netip.MustParsePrefix("2002::/16")      //nolint:gochecknoglobals // a constant
)

// translated is the address of IPv4 that one of IPv6 may lead to.
func translated(a netip.Addr) (netip.Addr, bool) {
	raw := a.As16()
	switch {
	case nat64.Contains(a), nat64Local.Contains(a):
		return netip.AddrFrom4([4]byte(raw[12:])), true
	case sixToFour.Contains(a):
		return netip.AddrFrom4([4]byte(raw[2:6])), true
	default:
		return netip.Addr{}, false
	}
}
