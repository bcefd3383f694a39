package resolver

import (
	"bufio"
	"io"
	"net/netip"
	"strconv"
	"strings"
)

// Config is what a resolv.conf says.
type Config struct {
	// Nameservers are asked in their order.
	Nameservers []netip.Addr `json:"nameservers,omitempty"`
	// Search are the domains that are tried for names with fewer than Ndots dots, and after the name itself for others.
	Search []string `json:"search,omitempty"`
	// Ndots is 1 if 0.
	Ndots int `json:"ndots,omitempty"`
}

// The limits of Kubernetes, and of resolv.conf.
const (
	MaxNameservers = 3
	MaxSearch      = 32
	maxNdots       = 15
)

// Parse reads a resolv.conf. What it does not understand is ignored, as every resolver does.
func Parse(r io.Reader) (Config, error) {
	var c Config
	for s := bufio.NewScanner(r); ; {
		if !s.Scan() {
			return c, s.Err()
		}
		line, _, _ := strings.Cut(s.Text(), "#")
		line, _, _ = strings.Cut(line, ";")
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		switch fields[0] {
		case "nameserver":
			if a, err := netip.ParseAddr(fields[1]); err == nil && len(c.Nameservers) < MaxNameservers {
				c.Nameservers = append(c.Nameservers, a)
			}
		case "domain", "search":
			c.Search = fields[1:min(len(fields), MaxSearch+1)]
		case "options":
			for _, o := range fields[1:] {
				c.option(o)
			}
		}
	}
}

// option takes ndots:N alone.
func (c *Config) option(text string) {
	if n, ok := strings.CutPrefix(text, "ndots:"); ok {
		if n, err := strconv.Atoi(n); err == nil {
			c.Ndots = min(max(n, 0), maxNdots)
		}
	}
}

// candidates are the full names to ask for, in their order.
func (c Config) candidates(name string) []string {
	if strings.HasSuffix(name, ".") {
		return []string{name}
	}
	var searched []string
	for _, domain := range c.Search {
		if domain = strings.Trim(domain, "."); domain != "" {
			searched = append(searched, name+"."+domain+".")
		}
	}
	if strings.Count(name, ".") >= max(c.Ndots, 1) {
		return append([]string{name + "."}, searched...)
	}
	return append(searched, name+".")
}
