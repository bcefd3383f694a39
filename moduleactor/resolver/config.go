package resolver

import (
	"bufio"
	"io"
	"net/netip"
	"slices"
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
	// Options are the others, name or name:value, which are for guests that read the file.
	Options []string `json:"options,omitempty"`
}

// The limits of Kubernetes, and of resolv.conf.
const (
	MaxNameservers = 3
	maxSearch      = 32
	maxDomain      = 253
	maxSearchLine  = 2048
	maxNdots       = 15
)

// String is the file, as container runtimes write it.
func (c Config) String() string {
	var b strings.Builder
	line := func(key string, values ...string) {
		if len(values) > 0 {
			b.WriteString(key + " " + strings.Join(values, " ") + "\n")
		}
	}
	line("search", c.Search...)
	for _, a := range c.Nameservers {
		line("nameserver", a.String())
	}
	options := c.Options
	if c.Ndots != 0 {
		options = append([]string{"ndots:" + strconv.Itoa(c.Ndots)}, options...)
	}
	line("options", options...)
	return b.String()
}

// SetOption sets an option, whatever its value was.
func (c *Config) SetOption(option string) {
	name, value, _ := strings.Cut(option, ":")
	if name == "ndots" {
		if n, err := strconv.Atoi(value); err == nil {
			c.Ndots = min(max(n, 0), maxNdots)
		}
		return
	}
	if i := slices.IndexFunc(c.Options, func(o string) bool { old, _, _ := strings.Cut(o, ":"); return old == name }); i >= 0 {
		c.Options[i] = option
		return
	}
	c.Options = append(c.Options, option)
}

// AddSearch adds domains that are not there yet, without the dot at their end. The dot alone is none.
func (c *Config) AddSearch(domains ...string) {
	for _, d := range domains {
		if d = strings.TrimRight(d, "."); d != "" && !slices.Contains(c.Search, d) {
			c.Search = append(c.Search, d)
		}
	}
}

// Limit leaves out what is more than Kubernetes allows, from the end.
func (c *Config) Limit() {
	c.Nameservers = c.Nameservers[:min(len(c.Nameservers), MaxNameservers)]
	c.Search = c.Search[:min(len(c.Search), maxSearch)]
	c.Search = slices.DeleteFunc(c.Search, func(d string) bool { return len(d) > maxDomain })
	for len(strings.Join(c.Search, " ")) > maxSearchLine {
		c.Search = c.Search[:len(c.Search)-1]
	}
}

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
			c.Search = nil
			c.AddSearch(fields[1:min(len(fields), maxSearch+1)]...)
		case "options":
			for _, o := range fields[1:] {
				c.SetOption(o)
			}
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
