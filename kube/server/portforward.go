package server

import (
	"context"
	"errors"
	"io"
	"net/http"

	"k8s.io/cri-streaming/pkg/streaming/portforward"
)

func (h Handlers) servePortForward(w http.ResponseWriter, r *http.Request) {
	tunnelled := offers(r, protocolTunnel)
	options := &portforward.V4Options{} // the ports of WebSocket version 4; otherwise each stream names its own
	if !tunnelled {
		var err error
		if options, err = portforward.NewV4Options(r); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
	}
	pod := h.pod(w, r)
	if pod == nil {
		return
	}
	upgraded(w, r, func(u *upgradable, r *http.Request) {
		var to http.ResponseWriter = u
		if tunnelled {
			t, inner, closed, err := openTunnel(u, r)
			if err != nil {
				return // it has been answered
			}
			defer closed()
			to, r = t, inner
		}
		ctx, cancel := context.WithCancel(r.Context())
		// The library ends with its connection only, and gives its forwarders no context.
		defer context.AfterFunc(ctx, u.close)()
		forwards := newInFlight()
		forward := forwarder(func(port int32, stream io.ReadWriteCloser) error {
			if !forwards.enter() {
				return errors.New("the connection is closed")
			}
			defer forwards.leave()
			err := guarded(func() error { return h.PortForward(ctx, PortForwardRequest{pod, port}, stream) })
			if ctx.Err() != nil {
				return nil //nolint:nilerr // nobody is there to be told
			}
			return err
		})
		portforward.ServePortForward(to, r, forward, pod.Name, string(pod.UID), options,
			h.streamIdle(), streamCreation, portforward.SupportedProtocols)
		cancel()
		forwards.close()
		<-forwards.idle
	})
}

// forwarder implements portforward.PortForwarder.
type forwarder func(port int32, stream io.ReadWriteCloser) error

func (f forwarder) PortForward(_ context.Context, _, _ string, port int32, stream io.ReadWriteCloser) error {
	return f(port, stream)
}
