package resolver

import (
	"net/netip"
	"slices"
	"strings"
)

// inHosts are the addresses that a hosts(5) file has for a name, which is in lower case and has no dot at its end. A line that
// is none has no names.
func inHosts(text, name string) []netip.Addr {
	var list []netip.Addr
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		fields := strings.Fields(line)
		if !slices.ContainsFunc(fields[min(len(fields), 1):], func(f string) bool {
			return strings.ToLower(strings.TrimSuffix(f, ".")) == name
		}) {
			continue
		}
		if a, err := netip.ParseAddr(fields[0]); err == nil && !slices.Contains(list, a) {
			list = append(list, a)
		}
	}
	return list
}
