//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/wazlet/wazlet/moduleactor/engine/enginetest"
)

// What a guest may not connect to becomes an Event also when the daemon that started it was killed: at once, and, of what
// it tried while there was none, when one is back.
func TestRefusalsAfterRestart(t *testing.T) {
	n := newNode(t)
	n.configure("podCIDR: 127.96.0.0/24\n")
	file := filepath.Join(t.TempDir(), "sockets.wasm")
	if err := os.WriteFile(file, enginetest.C(t, "sockets.c"), 0o600); err != nil {
		t.Fatal(err)
	}
	n.importImage(file, "localhost/e2e/sockets:v1")
	n.start()
	names := []string{"process", "shared"}
	for _, name := range names {
		p := pod(name, corev1.RestartPolicyNever, "knock")
		if name == "shared" {
			p = sharedPod(name, corev1.RestartPolicyNever, "knock")
		}
		p.Spec.Containers[0].Image = "localhost/e2e/sockets:v1"
		p.Spec.Containers[0].Ports = []corev1.ContainerPort{{Name: "knock", ContainerPort: 7007, Protocol: corev1.ProtocolUDP}}
		n.apply(p)
	}
	var guests []string
	for _, name := range names {
		guests = append(guests, n.awaitPod(name, "running", running).Status.PodIP)
	}
	knock := func(port int) {
		for _, ip := range guests {
			n.knock(ip, port)
		}
	}
	knock(1001)
	n.awaitRefused(names, 1001)
	n.signal(syscall.SIGKILL)
	knock(1002)
	n.start()
	n.awaitRefused(names, 1002)
	knock(1003)
	n.awaitRefused(names, 1003)
}

// knock has the guest connect to the port of an address that it may not connect to.
func (n *node) knock(guest string, port int) {
	n.t.Helper()
	conn, err := net.Dial("udp", net.JoinHostPort(guest, "7007"))
	if err != nil {
		n.t.Fatal(err)
	}
	defer conn.Close()
	answer := make([]byte, 100)
	err = conn.SetDeadline(time.Now().Add(patience))
	if err == nil {
		_, err = fmt.Fprintf(conn, "192.0.2.8 %d", port)
	}
	got := 0
	if err == nil {
		got, err = conn.Read(answer)
	}
	if string(answer[:got]) != "errno 2" || err != nil { // EACCES
		n.t.Fatalf("the guest at %s answers %q, %v", guest, answer[:got], err)
	}
}

// awaitRefused waits until the daemon's log has an Event of each Pod that names the port.
func (n *node) awaitRefused(pods []string, port int) {
	n.t.Helper()
	for _, name := range pods {
		n.await(fmt.Sprintf("the Event of %s about port %d", name, port), func() error {
			log, err := os.ReadFile(filepath.Join(n.root, "daemon.log"))
			if err != nil {
				return err
			}
			for line := range strings.Lines(string(log)) {
				if strings.Contains(line, "EgressRefused") && strings.Contains(line, `"pod":"`+name) && strings.Contains(line, fmt.Sprintf("192.0.2.8:%d", port)) {
					return nil
				}
			}
			return errors.New("there is none")
		})
	}
}
