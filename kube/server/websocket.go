package server

import (
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/gorilla/websocket"
	"k8s.io/cri-streaming/pkg/streaming/portforward"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
)

// The WebSocket protocols that cri-streaming leaves to its caller. kube-apiserver passes them on to a node that declares
// ExtendWebSocketsToKubelet, and translates them to SPDY for any other.
const (
	protocolV5     = remotecommand.StreamProtocolV5Name
	protocolTunnel = portforward.WebsocketsSPDYTunnelingPortForwardV1
)

const (
	// pingEvery is how often a client is pinged. A connection that nothing is read from, because the guest reads no
	// input, and that nothing is written to, because it prints nothing, does not tell that the other side is gone.
	pingEvery = 5 * time.Second
	// lingering is how long a client has to take the status and to answer the end of a session.
	lingering = 2 * time.Second
	// chunk is what client-go reads and writes at once.
	chunk = 32 << 10
)

// offers reports whether r asks for a WebSocket with the protocol, beside others perhaps.
func offers(r *http.Request, protocol string) bool {
	return websocket.IsWebSocketUpgrade(r) && slices.Contains(websocket.Subprotocols(r), protocol)
}

// openSocket answers the request with a WebSocket of the protocol, or with an HTTP error.
func openSocket(u *upgradable, r *http.Request, protocol string) (*websocket.Conn, error) {
	upgrader := websocket.Upgrader{
		Subprotocols:    []string{protocol},
		ReadBufferSize:  chunk,
		WriteBufferSize: chunk + 1,
		// As the kubelet: whose page asks says nothing, the credentials do.
		CheckOrigin: func(*http.Request) bool { return true },
	}
	return upgrader.Upgrade(u, r, nil)
}

// keepAlive pings the client and answers its pings until stop is called, which must follow the end of the connection.
// No write has a deadline and no answer is waited for: a client that does not read may be one whose user pages through
// the output. One that is gone makes a write fail, sooner or later.
func keepAlive(u *upgradable, ws *websocket.Conn) (stop func()) {
	pongs := make(chan string, 1)
	ws.SetPingHandler(func(data string) error {
		select {
		case pongs <- data:
		default: // one is being answered, which is answer enough
		}
		return nil
	})
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(pingEvery)
		defer tick.Stop()
		for {
			var err error
			select {
			case <-done:
				return
			case <-tick.C:
				err = ws.WriteControl(websocket.PingMessage, nil, time.Time{})
			case data := <-pongs:
				err = ws.WriteControl(websocket.PongMessage, []byte(data), time.Time{})
			}
			if err != nil {
				u.lost(fmt.Errorf("%w: %w", ErrClientGone, err)) // or the session is over, and nobody asks
				return
			}
		}
	}()
	return func() {
		close(done)
		<-ended
	}
}
