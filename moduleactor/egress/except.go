package egress

import "net/netip"

// Except returns prefixes that cover whole but for a part of it. A part that is no prefix, or lies elsewhere, takes nothing
// away.
func Except(whole, part string) []string {
	w, err := netip.ParsePrefix(whole)
	if err != nil {
		return nil
	}
	p, err := netip.ParsePrefix(part)
	if err != nil || p.Bits() < w.Bits() || !w.Contains(p.Addr()) {
		return []string{whole}
	}
	var out []string
	for bits := w.Bits() + 1; bits <= p.Bits(); bits++ {
		out = append(out, sibling(p.Addr(), bits).String())
	}
	return out
}

// sibling is the prefix of a length that differs from the address's own in its last bit alone.
func sibling(a netip.Addr, bits int) netip.Prefix {
	raw := a.AsSlice()
	raw[(bits-1)/8] ^= 1 << (7 - (bits-1)%8)
	flipped, _ := netip.AddrFromSlice(raw)
	return netip.PrefixFrom(flipped, bits).Masked()
}
