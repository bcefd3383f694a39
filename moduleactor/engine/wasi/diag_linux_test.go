package wasi

import (
	"net"
	"net/netip"
	"strings"
	"testing"
)

func TestForeign(t *testing.T) {
	const pod, other = "127.88.0.7", "127.88.0.8"
	six := false
	if l, err := net.Listen("tcp6", "[::1]:0"); err == nil {
		six = l.Close() == nil
	}
	for name, tc := range map[string]struct {
		network, listen, to string
		want                bool
	}{
		"the Pod's own":                  {"tcp4", pod, pod, false},
		"nobody":                         {"tcp4", other, pod, false},
		"on all addresses":               {"tcp4", "0.0.0.0", pod, true},
		"on all addresses of both kinds": {"tcp", "::", pod, true},
		"of IPv6":                        {"tcp6", "::", "::1", true},
		"on that of IPv6":                {"tcp6", "::1", "::1", false},
		"the Pod's own, UDP":             {"udp4", pod, pod, false},
		"nobody, UDP":                    {"udp4", other, pod, false},
		"on all addresses, UDP":          {"udp4", "0.0.0.0", pod, true},
		"on all of both kinds, UDP":      {"udp", "::", pod, true},
		"of IPv6, UDP":                   {"udp6", "::", "::1", true},
	} {
		t.Run(name, func(t *testing.T) {
			if strings.Contains(tc.listen, ":") && !six {
				t.Skip("this machine has no IPv6")
			}
			kind, at := socketStream, net.JoinHostPort(tc.listen, "0")
			var local net.Addr
			if tc.network[0] == 'u' {
				kind = socketDgram
				conn, err := net.ListenPacket(tc.network, at)
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				local = conn.LocalAddr()
			} else {
				l, err := net.Listen(tc.network, at)
				if err != nil {
					t.Fatal(err)
				}
				defer l.Close()
				local = l.Addr()
			}
			port := netip.MustParseAddrPort(local.String()).Port()
			if got := foreign(kind, netip.AddrPortFrom(netip.MustParseAddr(tc.to), port)); got != tc.want {
				t.Errorf("%t for %s when %s listens", got, tc.to, local)
			}
		})
	}
}
