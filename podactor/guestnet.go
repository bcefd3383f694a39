package podactor

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"unicode"

	corev1 "k8s.io/api/core/v1"

	"github.com/wazlet/wazlet/moduleactor/bundle"
	"github.com/wazlet/wazlet/moduleactor/egress"
	"github.com/wazlet/wazlet/moduleactor/resolver"
)

// network is what the sockets of a Pod's guests may do; nil while the Pod has no address, which only tests see.
func (s surroundings) network() (*bundle.Network, error) {
	cfg, pod, ip := s.cfg, s.pod, s.podIP
	if pod.Spec.HostNetwork {
		if ip = s.hostIP; ip == "" {
			return nil, errNoHostIP
		}
	}
	own, err := netip.ParseAddr(ip)
	if err != nil {
		return nil, nil //nolint:nilerr,nilnil // without an address there is no network
	}
	ask, err := egress.Ask(pod.Annotations)
	if err != nil {
		return nil, err
	}
	dns, err := resolverOf(cfg, pod)
	if err != nil {
		return nil, err
	}
	policy := egress.Policy{Own: []netip.Addr{own}, Ask: ask, Allow: cfg.Egress.Allow, Deny: cfg.Egress.Deny}
	if foreign, err := namesForeign(cfg, pod); err != nil {
		return nil, err
	} else if foreign {
		policy.Allow = slices.DeleteFunc(slices.Clone(policy.Allow), egress.Rule.ByName)
	}
	// A guest that resolves names itself may ask the name servers which the node asks for others.
	for _, server := range dns.Nameservers {
		policy.Always = append(policy.Always, egress.Address(server, dnsPort))
	}
	return &bundle.Network{Egress: policy, DNS: dns}, nil
}

const dnsPort = 53

// namesForeign tells whether a Pod brings names, or name servers that are not the node's. These may say of any address that it
// has a name which the node lets Pods reach.
func namesForeign(cfg Config, pod *corev1.Pod) (bool, error) {
	if len(pod.Spec.HostAliases) > 0 {
		return true, nil
	}
	if pod.Spec.DNSConfig == nil || len(pod.Spec.DNSConfig.Nameservers) == 0 {
		return false, nil
	}
	host, err := readResolvConf(cfg.DNS.ResolvConf)
	if err != nil {
		return false, err
	}
	trusted := slices.Concat(cfg.DNS.Cluster, host.Nameservers)
	return slices.ContainsFunc(pod.Spec.DNSConfig.Nameservers, func(s string) bool {
		a, err := netip.ParseAddr(s)
		return err != nil || !slices.Contains(trusted, a)
	}), nil
}

// resolverOf applies the Pod's DNS policy, as the kubelet does.
func resolverOf(cfg Config, pod *corev1.Pod) (resolver.Config, error) {
	var c resolver.Config
	policy := pod.Spec.DNSPolicy
	clusterFirst := policy == corev1.DNSClusterFirstWithHostNet || (policy == corev1.DNSClusterFirst || policy == "") && !pod.Spec.HostNetwork
	if policy != corev1.DNSNone {
		host, err := readResolvConf(cfg.DNS.ResolvConf)
		if err != nil {
			return c, err
		}
		c = host
		if clusterFirst && len(cfg.DNS.Cluster) > 0 {
			services := "svc." + cfg.DNS.Domain
			c = resolver.Config{Nameservers: slices.Clone(cfg.DNS.Cluster), Ndots: clusterNdots}
			c.AddSearch(pod.Namespace+"."+services, services, cfg.DNS.Domain)
			c.AddSearch(host.Search...)
		}
	}
	if err := addDNSConfig(&c, pod.Spec.DNSConfig, cfg.Egress); err != nil {
		return c, err
	}
	c.Limit()
	return c, nil
}

// clusterNdots lets names such as service.namespace be looked for in the cluster at first.
const clusterNdots = 5

// readResolvConf reads the host's file; a host without one has no name servers.
func readResolvConf(path string) (resolver.Config, error) {
	f, err := os.Open(path)
	if os.IsNotExist(err) || path == "" {
		return resolver.Config{}, nil
	}
	if err != nil {
		return resolver.Config{}, fmt.Errorf("read the host's name servers: %w", err)
	}
	defer f.Close()
	return resolver.Parse(f)
}

// addDNSConfig adds what the Pod itself says. Its name servers must be such as the node lets Pods reach at all: queries are
// a way out as any other.
func addDNSConfig(c *resolver.Config, d *corev1.PodDNSConfig, bound Egress) error {
	if d == nil {
		return nil
	}
	may := egress.Policy{Ask: []egress.Rule{egress.Everything()}, Allow: bound.Allow, Deny: bound.Deny}
	for i, s := range d.Nameservers {
		a, err := netip.ParseAddr(s)
		if err != nil {
			return fmt.Errorf("spec.dnsConfig.nameservers[%d]: must be an IP address (got %q)", i, s)
		}
		if err := may.Check(netip.AddrPortFrom(a, dnsPort)); err != nil {
			return fmt.Errorf("spec.dnsConfig.nameservers[%d]: %w", i, err)
		}
		if !slices.Contains(c.Nameservers, a) {
			c.Nameservers = append(c.Nameservers, a)
		}
	}
	c.AddSearch(d.Searches...)
	for _, o := range d.Options {
		option := o.Name
		if o.Value != nil && *o.Value != "" {
			option += ":" + *o.Value
		}
		if value, isNdots := strings.CutPrefix(option, "ndots:"); isNdots {
			if _, err := strconv.Atoi(value); err != nil {
				return fmt.Errorf("spec.dnsConfig.options: ndots must be a number (got %q)", value)
			}
		}
		if strings.ContainsFunc(option, unicode.IsSpace) {
			return fmt.Errorf("spec.dnsConfig.options: want no spaces (got %q)", option)
		}
		c.SetOption(option)
	}
	return nil
}
