// Package podcidr chooses addresses for Pods out of a node's podCIDR. It is pure: who uses which address is its caller's
// to know.
package podcidr

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// CIDR is a network of addresses for Pods. The zero value is no network and has no address to give.
type CIDR struct{ prefix netip.Prefix }

// kept is how many addresses at the beginning are not given to Pods: the network's own, and the first one, which is the
// gateway's by custom.
const kept = 2

// maxBits leaves one address for a Pod in the smallest network: beside those kept there is the broadcast address.
const maxBits = 30

// Error is why a text is no network for Pods.
type Error struct{ Text, Problem string }

func (e *Error) Error() string { return fmt.Sprintf("%s (got %q)", e.Problem, e.Text) }

// Parse reads a network in CIDR notation. It must be of IPv4 and have an address that can be given. The error is an *Error.
func Parse(text string) (CIDR, error) {
	p, err := netip.ParsePrefix(text)
	problem := ""
	switch {
	case err != nil:
		problem = "must be a network such as 10.88.0.0/16"
	case !p.Addr().Is4():
		problem = "must be a network of IPv4 addresses, such as 10.88.0.0/16; Pods have no IPv6 addresses yet"
	case p != p.Masked():
		problem = "must be a network, not an address in it; did you mean " + p.Masked().String() + "?"
	case p.Bits() > maxBits:
		problem = fmt.Sprintf("must have an address for a Pod, so its prefix has at most %d bits", maxBits)
	case p.Addr().IsUnspecified() || p.Addr().IsMulticast() || p.Addr().IsLinkLocalUnicast():
		problem = "must be a network of unicast addresses, such as 10.88.0.0/16"
	}
	if problem != "" {
		return CIDR{}, &Error{Text: text, Problem: problem}
	}
	return CIDR{p}, nil
}

// Choose takes the network for a node out of the podCIDRs of its Node object: the one of IPv4. Ignored names the others.
func Choose(cidrs []string) (c CIDR, ignored []string, err error) {
	var errs []error
	for _, text := range cidrs {
		next, err := Parse(text)
		switch {
		case err != nil:
			ignored = append(ignored, text)
			errs = append(errs, err)
		case c.IsValid():
			ignored = append(ignored, text)
		default:
			c = next
		}
	}
	switch {
	case c.IsValid():
		return c, ignored, nil
	case len(cidrs) == 0:
		return CIDR{}, nil, errors.New("none is given")
	}
	return CIDR{}, nil, fmt.Errorf("none of %s can be used: %w", strings.Join(cidrs, ", "), errors.Join(errs...))
}

// IsValid tells whether there is a network.
func (c CIDR) IsValid() bool { return c.prefix.IsValid() }

// String is the network in CIDR notation.
func (c CIDR) String() string { return c.prefix.String() }

// Prefix is the network.
func (c CIDR) Prefix() netip.Prefix { return c.prefix }

// Contains tells whether an address could have been given out of this network.
func (c CIDR) Contains(a netip.Addr) bool {
	if !c.IsValid() || !a.Is4() || !c.prefix.Contains(a) {
		return false
	}
	n := number(a) - number(c.prefix.Addr())
	return n >= kept && n < kept+c.size()
}

// Size is how many Pods can have an address at once.
func (c CIDR) Size() int {
	if !c.IsValid() {
		return 0
	}
	return int(c.size())
}

func (c CIDR) size() uint32 {
	if !c.IsValid() {
		return 0
	}
	return 1<<(32-c.prefix.Bits()) - kept - 1
}

// Next is the first address after another one that is not used, going round. After the zero address, or one of another
// network, it begins at the beginning. Whoever remembers the address that was given last thereby leaves one that was
// released unused for as long as possible: somebody may still speak to it. ok is false when all are used.
func (c CIDR) Next(after netip.Addr, used func(netip.Addr) bool) (next netip.Addr, ok bool) {
	size, first := c.size(), number(c.prefix.Addr())+kept
	start := uint32(0)
	if c.Contains(after) {
		start = number(after) - first + 1
	}
	for i := range size {
		a := address(first + (start+i)%size)
		if !used(a) {
			return a, true
		}
	}
	return netip.Addr{}, false
}

func number(a netip.Addr) uint32 {
	if !a.Is4() {
		return 0
	}
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}

func address(n uint32) netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], n)
	return netip.AddrFrom4(b)
}
