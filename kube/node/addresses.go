package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// AddressConfig says how a node's addresses are found.
type AddressConfig struct {
	// NodeIPs are configured: none, one, or one of each family. See ValidateNodeIPs.
	NodeIPs []string
	// NodeName is looked up when there are none.
	NodeName string
	// OnHost says whether an address belongs to this machine. nil: AddressOnHost. (With an egress proxy in front of the node
	// it need not.)
	OnHost func(net.IP) error
	// Lookup and DefaultRoute are nil for the real ones.
	Lookup       func(host string) ([]net.IP, error)
	DefaultRoute func() (net.IP, error)
}

// HostAddresses returns a function for Config.Addresses: the configured ones, or the first good one that the node's name
// resolves to, or that of the interface with the default route. What was found stays as long as it is on the machine.
func HostAddresses(c AddressConfig) (func() ([]corev1.NodeAddress, error), error) {
	if errs := ValidateNodeIPs(field.NewPath("nodeIPs"), c.NodeIPs); len(errs) > 0 {
		return nil, errs.ToAggregate()
	}
	if c.OnHost == nil {
		c.OnHost = AddressOnHost
	}
	if c.Lookup == nil {
		c.Lookup = lookup
	}
	if c.DefaultRoute == nil {
		c.DefaultRoute = func() (net.IP, error) { return utilnet.ResolveBindAddress(nil) }
	}
	var mu sync.Mutex
	var found net.IP
	return func() ([]corev1.NodeAddress, error) {
		if len(c.NodeIPs) > 0 {
			return c.configured()
		}
		mu.Lock()
		defer mu.Unlock()
		if found == nil || c.good(found) != nil {
			var err error
			if found, err = c.detect(); err != nil {
				return nil, err
			}
		}
		return []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: found.String()}}, nil
	}, nil
}

func (c AddressConfig) configured() ([]corev1.NodeAddress, error) {
	out := make([]corev1.NodeAddress, 0, len(c.NodeIPs))
	for _, text := range c.NodeIPs {
		ip := net.ParseIP(text)
		if err := c.OnHost(ip); err != nil {
			return nil, fmt.Errorf("node IP %s: %w", text, err)
		}
		out = append(out, corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: ip.String()})
	}
	return out, nil
}

// detect prefers IPv4, as the kubelet does.
func (c AddressConfig) detect() (net.IP, error) {
	if ip := net.ParseIP(c.NodeName); ip != nil {
		return ip, c.good(ip)
	}
	resolved, lookupErr := c.Lookup(c.NodeName)
	var other net.IP
	for _, ip := range resolved {
		if c.good(ip) != nil {
			continue
		}
		if ip.To4() != nil {
			return ip, nil
		}
		if other == nil {
			other = ip
		}
	}
	if other != nil {
		return other, nil
	}
	ip, err := c.DefaultRoute()
	if err == nil {
		err = c.good(ip)
	}
	if err != nil {
		return nil, fmt.Errorf("find the node's IP address (nodeIPs can name it): %w", errors.Join(err, lookupErr))
	}
	return ip, nil
}

func (c AddressConfig) good(ip net.IP) error {
	if problem := unfit(ip); problem != "" {
		return fmt.Errorf("node IP %s: %s", ip, problem)
	}
	return c.OnHost(ip)
}

// unfit says why nobody else could reach the node at an address; empty: somebody may.
func unfit(ip net.IP) string {
	switch {
	case ip.IsLoopback():
		return "must not be a loopback address"
	case ip.IsMulticast():
		return "must not be a multicast address"
	case ip.IsLinkLocalUnicast():
		return "must not be a link-local address"
	case ip.IsUnspecified():
		return "must not be the unspecified address"
	}
	return ""
}

// ValidateNodeIPs checks configured addresses as far as that is possible without looking at the machine.
func ValidateNodeIPs(path *field.Path, ips []string) field.ErrorList {
	var errs field.ErrorList
	if len(ips) > 2 {
		errs = append(errs, field.TooMany(path, len(ips), 2))
	}
	families := map[bool]bool{}
	for i, text := range ips {
		ip := net.ParseIP(text)
		if ip == nil {
			errs = append(errs, field.Invalid(path.Index(i), text, "must be an IP address"))
			continue
		}
		if problem := unfit(ip); problem != "" {
			errs = append(errs, field.Invalid(path.Index(i), text, problem))
		}
		four := ip.To4() != nil
		if families[four] {
			errs = append(errs, field.Invalid(path.Index(i), text, "two addresses must be of different families"))
		}
		families[four] = true
	}
	return errs
}

// AddressOnHost says whether an address can be listened on here. That includes addresses that only a local route leads to,
// which no interface has.
func AddressOnHost(ip net.IP) error {
	l, err := net.ListenUDP("udp", &net.UDPAddr{IP: ip})
	if err != nil {
		return fmt.Errorf("is not an address of this machine: %w", err)
	}
	return l.Close()
}

func lookup(host string) ([]net.IP, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	addrs, err := net.DefaultResolver.LookupIPAddr(ctx, host)
	ips := make([]net.IP, 0, len(addrs))
	for _, a := range addrs {
		ips = append(ips, a.IP)
	}
	return ips, err
}
