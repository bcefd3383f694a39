package resolver

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"
)

// port is where name servers listen; tests have others.
const port = 53

// most bounds the time for one name, all servers and domains together.
const most = 20 * time.Second

// Resolver asks the name servers of its Config. Its methods may be called from any goroutine.
type Resolver struct {
	config  Config
	hosts   string
	servers []netip.AddrPort
	next    atomic.Uint32
}

// New makes a Resolver that looks into hosts, the text of a hosts(5) file, before it asks.
func New(c Config, hosts string) *Resolver {
	servers := make([]netip.AddrPort, len(c.Nameservers))
	for i, a := range c.Nameservers {
		servers[i] = netip.AddrPortFrom(a, port)
	}
	return &Resolver{config: c, hosts: hosts, servers: servers}
}

// ErrNoServer is the answer of a Resolver without name servers.
var ErrNoServer = errors.New("no name server is configured")

// Lookup returns the addresses of a name, at least one, and the full name that has them: with a search domain that is another
// name than was asked for, and may be somebody else's. An address stands for itself. Names of localhost are not asked for:
// they are 127.0.0.1 and ::1.
func (r *Resolver) Lookup(ctx context.Context, name string) (list []netip.Addr, full string, err error) {
	if a, err := netip.ParseAddr(name); err == nil {
		return []netip.Addr{a}, name, nil
	}
	plain := strings.ToLower(strings.TrimSuffix(name, "."))
	if plain == "localhost" || strings.HasSuffix(plain, ".localhost") {
		return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}, plain, nil
	}
	if list := inHosts(r.hosts, plain); len(list) > 0 {
		return list, plain, nil
	}
	if len(r.servers) == 0 {
		return nil, "", ErrNoServer
	}
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	ask := &net.Resolver{PreferGo: true, Dial: r.dial}
	var failed error
	for _, full := range r.config.candidates(name) {
		list, err := ask.LookupNetIP(ctx, "ip", full)
		if err == nil && len(list) > 0 {
			return list, strings.TrimSuffix(full, "."), nil
		}
		if failed == nil || !notFound(err) { // a server that fails tells more than a name that is not there
			failed = err
		}
		if ctx.Err() != nil {
			break
		}
	}
	return nil, "", failed
}

func notFound(err error) bool {
	dns, ok := errors.AsType[*net.DNSError](err)
	return ok && dns.IsNotFound
}

// dial takes our servers in turn, whatever the host's file has: Go's resolver asks again when one does not answer.
func (r *Resolver) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	server := r.servers[int(r.next.Add(1)-1)%len(r.servers)]
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, server.String())
	if err != nil {
		return nil, err
	}
	// Go's resolver goes on for its own time-out after a lookup was given up.
	context.AfterFunc(ctx, func() { _ = conn.Close() })
	return conn, nil
}
