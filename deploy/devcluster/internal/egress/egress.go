// Package egress lets an API server reach nodes and Pods whose addresses no interface has, so that a cluster needs no
// privilege: it is the HTTP CONNECT proxy an API server is told to use by its egress selector. An address of the
// cluster, 10.a.b.c, that is not local to the machine is dialled as 127.a.b.c, where a node without privilege listens.
package egress

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// Proxy is the proxy. Serve it with net/http.
type Proxy struct {
	// Virtual are the networks of nodes and Pods.
	Virtual []netip.Prefix
}

const dialTimeout = 10 * time.Second

// ServeHTTP serves one connection until both sides have ended it.
func (p Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodConnect {
		http.Error(w, "the method is "+r.Method+", only CONNECT is served", http.StatusMethodNotAllowed)
		return
	}
	to, err := p.dial(r.Context(), r.RequestURI)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer to.Close()
	from, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer from.Close()
	if _, err := io.WriteString(from, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		return
	}
	splice(to, from, buffered)
}

func (p Proxy) dial(ctx context.Context, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if ip, err := netip.ParseAddr(host); err == nil && !isLocal(ctx, host) {
		host = p.translate(ip).String()
	}
	d := net.Dialer{Timeout: dialTimeout}
	return d.DialContext(ctx, "tcp", net.JoinHostPort(host, port))
}

// translate moves an address of the cluster into the loopback network.
func (p Proxy) translate(ip netip.Addr) netip.Addr {
	for _, n := range p.Virtual {
		if n.Contains(ip) && ip.Is4() {
			b := ip.As4()
			b[0] = 127
			return netip.AddrFrom4(b)
		}
	}
	return ip
}

// isLocal tells if the machine has the address, by an interface or a local route: it can be listened on then.
func isLocal(ctx context.Context, host string) bool {
	c, err := new(net.ListenConfig).ListenPacket(ctx, "udp", net.JoinHostPort(host, "0"))
	if err != nil {
		return false
	}
	_ = c.Close()
	return true
}

// splice copies both ways until both are done. What the client sent behind its request is in buffered.
func splice(to, from net.Conn, buffered io.Reader) {
	var both sync.WaitGroup
	both.Go(func() { pump(to, buffered) })
	both.Go(func() { pump(from, to) })
	both.Wait()
}

// pump copies to the end and passes the end on. An error ends both directions.
func pump(dst net.Conn, src io.Reader) {
	_, err := io.Copy(dst, src)
	if half, ok := dst.(interface{ CloseWrite() error }); ok && err == nil {
		err = half.CloseWrite()
	} else if err == nil {
		err = errors.ErrUnsupported
	}
	if err != nil {
		_ = dst.Close()
		if c, ok := src.(io.Closer); ok {
			_ = c.Close()
		}
	}
}
