package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"

	"github.com/wazlet/wazlet/kube/server"
)

// dialTimeout bounds the wait for a Pod's port, which is on this machine.
const dialTimeout = 10 * time.Second

// portForward connects a client to a port of a Pod.
func (d *daemon) portForward(ctx context.Context, r server.PortForwardRequest, stream io.ReadWriteCloser) error {
	return forward(ctx, r.Pod.Status.PodIP, r.Port, stream)
}

// forward copies in both directions until both have ended, or until ctx ends.
func forward(ctx context.Context, ip string, port int32, stream io.ReadWriteCloser) error {
	if ip == "" {
		return errors.New("failed to execute portforward: the Pod has no address yet")
	}
	address := net.JoinHostPort(ip, strconv.Itoa(int(port)))
	conn, err := (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("failed to connect to %s: %w", address, err)
	}
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		_, _ = io.Copy(conn, stream)
		if half, ok := conn.(interface{ CloseWrite() error }); ok {
			_ = half.CloseWrite() // the guest may still have something to say
		}
	}()
	// How a connection ends is for those to see who speak over it. An error here would have kubectl give up the port.
	_, _ = io.Copy(stream, conn)
	_ = stream.Close()
	<-sent
	_ = conn.Close()
	return nil
}
