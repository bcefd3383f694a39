package server

import (
	"bufio"
	"net"
	"net/http"

	"k8s.io/client-go/tools/portforward"
	streaming "k8s.io/cri-streaming/pkg/streaming/portforward"
	"k8s.io/streaming/pkg/httpstream"
	"k8s.io/streaming/pkg/httpstream/spdy"
)

// A tunnel is a WebSocket that carries a SPDY connection, as cri-streaming wants to see one: a response that is upgraded
// to SPDY when it is hijacked. What it would answer to the upgrade is left out, the WebSocket's answer was sent before.
type tunnel struct {
	header http.Header
	conn   net.Conn
}

// openTunnel answers r with a WebSocket and returns the request for SPDY that is served through it; closed closes both.
func openTunnel(u *upgradable, r *http.Request) (t *tunnel, inner *http.Request, closed func(), err error) {
	ws, err := openSocket(u, r, protocolTunnel)
	if err != nil {
		return nil, nil, nil, err
	}
	stop := keepAlive(u, ws)
	inner = r.Clone(r.Context())
	inner.Header.Set(httpstream.HeaderUpgrade, spdy.HeaderSpdy31)
	inner.Header.Set(httpstream.HeaderProtocolVersion, streaming.ProtocolV1Name)
	t = &tunnel{header: http.Header{}, conn: portforward.NewTunnelingConnection("server", ws)}
	return t, inner, func() {
		u.close()
		stop()
	}, nil
}

func (t *tunnel) Header() http.Header { return t.header }

func (t *tunnel) WriteHeader(int) {}

func (t *tunnel) Write([]byte) (int, error) { return 0, http.ErrHijacked }

// Hijack implements http.Hijacker.
func (t *tunnel) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return t.conn, bufio.NewReadWriter(bufio.NewReader(t.conn), bufio.NewWriter(t.conn)), nil
}
