package egress

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Any matches every address and every name.
const Any = "*"

// A Rule matches destinations: addresses of a prefix, or those that a name stands for. Its text is
//
//	rule   = target [":" ports]       without ports: all
//	target = "*" | name | "*." name | address | prefix | "[" address | prefix "]"
//	ports  = port | port "-" port
//
// An IPv6 address or prefix needs its brackets only before ports. "*.example.com" matches the names below example.com, not
// example.com itself.
type Rule struct {
	// prefix is valid for addresses; name is lower-case, without a final dot, for names; neither: everything.
	prefix netip.Prefix
	name   string
	// first and last bound the ports, both included; 0 and 65535 for all.
	first, last uint16
}

// MaxRules bounds a list of rules.
const MaxRules = 256

// maxName is the longest name of DNS.
const maxName = 253

// ParseList reads rules that are separated by commas or white space. Its error names the rule.
func ParseList(text string) ([]Rule, error) {
	fields := strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' || r == '\n' || r == '\r' })
	if len(fields) > MaxRules {
		return nil, fmt.Errorf("want at most %d rules (got %d)", MaxRules, len(fields))
	}
	var rules []Rule
	for _, f := range fields {
		r, err := Parse(f)
		if err != nil {
			return nil, err
		}
		rules = append(rules, r)
	}
	return rules, nil
}

// Parse reads one rule.
func Parse(text string) (Rule, error) {
	r, err := parse(text)
	if err != nil {
		return Rule{}, fmt.Errorf("rule %.100q: %w", text, err)
	}
	return r, nil
}

func parse(text string) (Rule, error) {
	target, ports := split(text)
	r, err := parseTarget(target)
	if err != nil {
		return Rule{}, err
	}
	r.first, r.last, err = parsePorts(ports)
	return r, err
}

// split separates the ports. Two colons and no brackets are IPv6 without ports.
func split(text string) (target, ports string) {
	if rest, ok := strings.CutPrefix(text, "["); ok {
		if target, after, ok := strings.Cut(rest, "]"); ok && (after == "" || after[0] == ':') {
			return target, after
		}
		return text, ""
	}
	if i := strings.IndexByte(text, ':'); i >= 0 && !strings.Contains(text[i+1:], ":") {
		return text[:i], text[i:]
	}
	return text, ""
}

func parseTarget(target string) (Rule, error) {
	if target == Any {
		return Rule{}, nil
	}
	if prefix, err := netip.ParsePrefix(target); err == nil {
		return Rule{prefix: plain(prefix).Masked()}, nil
	}
	if addr, err := netip.ParseAddr(target); err == nil && addr.Zone() == "" {
		addr = addr.Unmap()
		return Rule{prefix: netip.PrefixFrom(addr, addr.BitLen())}, nil
	}
	name := canonical(target)
	if !validName(strings.TrimPrefix(name, "*.")) {
		return Rule{}, errors.New("want an address, a CIDR, a host name, *.name or *, each with :port or :first-last if need be")
	}
	return Rule{name: name}, nil
}

// plain makes IPv4 of IPv4 within IPv6.
func plain(p netip.Prefix) netip.Prefix {
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		return netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p
}

// canonical is how names are compared.
func canonical(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }

// validName takes what resolvers take: labels of letters, digits, hyphens and underscores. A last label of digits alone is
// an address that was not written as one.
func validName(name string) bool {
	if name == "" || len(name) > maxName {
		return false
	}
	labels := strings.Split(name, ".")
	for _, l := range labels {
		if l == "" || len(l) > 63 || l[0] == '-' || l[len(l)-1] == '-' || strings.Trim(l, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return false
		}
	}
	return strings.Trim(labels[len(labels)-1], "0123456789") != ""
}

func parsePorts(text string) (first, last uint16, err error) {
	if text == "" {
		return 0, 65535, nil
	}
	from, to, ranged := strings.Cut(text[1:], "-")
	if !ranged {
		to = from
	}
	if first, err = parsePort(from); err == nil {
		last, err = parsePort(to)
	}
	if err == nil && first > last {
		err = fmt.Errorf("ports %d-%d: the first is above the last", first, last)
	}
	return first, last, err
}

func parsePort(text string) (uint16, error) {
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("port %.20q: want a number from 1 to 65535", text)
	}
	return uint16(n), nil
}

// Address is the rule for one port of one address.
func Address(a netip.Addr, port uint16) Rule {
	a = a.Unmap().WithZone("")
	return Rule{prefix: netip.PrefixFrom(a, a.BitLen()), first: port, last: port}
}

// Everything matches all destinations.
func Everything() Rule { return Rule{last: 65535} }

// ByName tells whether the rule is for a name, which it takes a name server's word for.
func (r Rule) ByName() bool { return r.name != "" }

// matches tells whether the destination is the rule's. Names are canonical.
func (r Rule) matches(to netip.AddrPort, names []string) bool {
	if to.Port() < r.first || to.Port() > r.last {
		return false
	}
	switch {
	case r.prefix.IsValid():
		return r.prefix.Contains(to.Addr().Unmap())
	case r.name != "":
		return slices.ContainsFunc(names, r.named)
	default:
		return true
	}
}

func (r Rule) named(name string) bool {
	if below, ok := strings.CutPrefix(r.name, "*"); ok {
		return len(name) > len(below) && strings.HasSuffix(name, below)
	}
	return name == r.name
}

// String is the text that Parse reads.
func (r Rule) String() string {
	target := Any
	switch {
	case r.prefix.IsValid() && r.prefix.IsSingleIP():
		target = r.prefix.Addr().String()
	case r.prefix.IsValid():
		target = r.prefix.String()
	case r.name != "":
		target = r.name
	}
	if r.first == 0 && r.last == 65535 {
		return target
	}
	if r.prefix.IsValid() && r.prefix.Addr().Is6() {
		target = "[" + target + "]"
	}
	if r.first == r.last {
		return fmt.Sprintf("%s:%d", target, r.first)
	}
	return fmt.Sprintf("%s:%d-%d", target, r.first, r.last)
}

// MarshalText implements encoding.TextMarshaler.
func (r Rule) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (r *Rule) UnmarshalText(text []byte) (err error) {
	*r, err = Parse(string(text))
	return err
}
