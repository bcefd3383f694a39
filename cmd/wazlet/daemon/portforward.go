package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/wazlet/wazlet/kube/server"
)

// dialTimeout bounds the wait for a Pod's port, which is on this machine.
const dialTimeout = 10 * time.Second

// portForward connects a client to a port of a Pod. Each connection asks for the Pod anew: the address of one that has ended
// meanwhile may be another Pod's, to which the client was not let in.
func (d *daemon) portForward(ctx context.Context, r server.PortForwardRequest, stream io.ReadWriteCloser) error {
	return d.counted.operations.measure(opPortForward, func() error {
		pod, err := d.pod(ctx, string(r.Pod.UID))
		if err != nil {
			return err
		}
		address, err := addressOf(pod)
		if err != nil {
			return fmt.Errorf("failed to execute portforward: %w", err)
		}
		return forward(ctx, address, r.Port, stream)
	})
}

// addressOf is the address that a Pod has as long as it is not over; nil is a Pod that is gone.
func addressOf(pod *corev1.Pod) (string, error) {
	switch {
	case pod == nil || over(pod.Status.Phase):
		return "", errors.New("the Pod has ended")
	case pod.Status.PodIP == "":
		return "", errors.New("the Pod has no address yet")
	default:
		return pod.Status.PodIP, nil
	}
}

// forward copies in both directions until both have ended, or until ctx ends.
func forward(ctx context.Context, ip string, port int32, stream io.ReadWriteCloser) error {
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
