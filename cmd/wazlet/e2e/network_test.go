//go:build e2e

package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Pods have addresses of their own, also without a cluster, and keep them.
func TestAddresses(t *testing.T) {
	n := newNode(t)
	n.configure("podCIDR: 127.89.0.0/29\n")
	n.start()
	for _, name := range []string{"a", "b"} {
		p := pod(name, corev1.RestartPolicyAlways, "idle", "$(IP)")
		p.Spec.Containers[0].Env = []corev1.EnvVar{{
			Name: "IP", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "status.podIP"}},
		}}
		n.apply(p)
	}
	host := pod("host", corev1.RestartPolicyAlways, "idle")
	host.Spec.HostNetwork = true
	n.apply(host)
	seen := map[string]string{}
	for _, name := range []string{"a", "b"} {
		p := n.awaitPod(name, "running", running)
		ip := p.Status.PodIP
		if other := seen[ip]; other != "" || !strings.HasPrefix(ip, "127.89.0.") || p.Status.HostIP != "127.0.0.1" {
			t.Errorf("Pod %s has address %q, on a node with %q; that of %q", name, ip, p.Status.HostIP, other)
		}
		seen[ip] = name
		n.await("the guest to print its address", func() error {
			if out, err := n.try("logs", name); err != nil || !strings.Contains(out, "idle "+ip+"\n") {
				return fmt.Errorf("it printed %q (%w), want %s", out, err, ip)
			}
			return nil
		})
	}
	if p := n.awaitPod("host", "running", running); p.Status.PodIP != "127.0.0.1" {
		t.Errorf("a Pod on the host's network has address %q", p.Status.PodIP)
	}
	n.signal(syscall.SIGKILL)
	n.start()
	for ip, name := range seen {
		if p := n.awaitPod(name, "running", running); p.Status.PodIP != ip {
			t.Errorf("after a restart of the daemon Pod %s has address %s, before it had %s", name, p.Status.PodIP, ip)
		}
	}
}

// serveEnv has this binary be a server inside a network namespace: it greets whoever connects to the address.
const serveEnv = "WAZLET_E2E_SERVE"

func serve(address string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	fmt.Println("listening")
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		_, _ = io.WriteString(c, "HTTP/1.0 200 OK\r\n\r\nyou reached "+address)
		_ = c.Close()
	}
}

// In a cluster the addresses are out of the Node's podCIDR, and kubectl port-forward reaches them.
func TestClusterNetwork(t *testing.T) {
	c := newControlPlane(t, "")
	c.create(deployment("web", 3, "idle"))
	c.must("rollout", "status", "deployment/web", "--timeout=110s")
	cidr, err := netip.ParsePrefix(c.must("get", "node", "edge", "-o", "jsonpath={.spec.podCIDR}"))
	if err != nil {
		t.Fatal(err)
	}
	var ips []string
	for _, p := range c.apiPods("app=web") {
		ip, err := netip.ParseAddr(p.Status.PodIP)
		if err != nil || !cidr.Contains(ip) || slices.Contains(ips, p.Status.PodIP) || p.Status.HostIP != "10.99.0.2" {
			t.Errorf("Pod %s has address %q (%v) beside %v, on a node with %s and podCIDR %s", p.Name, p.Status.PodIP, err, ips, p.Status.HostIP, cidr)
		}
		ips = append(ips, p.Status.PodIP)
	}
	host := pod("host", corev1.RestartPolicyAlways, "idle")
	host.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}
	host.Spec.HostNetwork = true
	host.Spec.NodeName = "edge"
	host.Spec.Tolerations = []corev1.Toleration{{Operator: corev1.TolerationOpExists}}
	c.create(host)
	c.must("wait", "--for=condition=Ready", "pod/host", "--timeout=60s")
	if ip := c.must("get", "pod", "host", "-o", "jsonpath={.status.podIP}"); ip != "10.99.0.2" {
		t.Errorf("a Pod on the host's network has address %q", ip)
	}
}

// Guests serve the ports that their containers declare: at the Pod's address, behind a Service's EndpointSlice (there is no
// kube-proxy, so cluster IPs go nowhere here), at a hostPort, and through kubectl port-forward.
func TestClusterPorts(t *testing.T) {
	c := newControlPlane(t, "")
	c.importImage(filepath.Join(bin, "examples", "http.wasm"), "localhost/wazlet-examples/http:v1")
	c.must("apply", "-f", filepath.Join("..", "..", "..", "deploy", "runtimeclass"))
	c.must("apply", "-f", filepath.Join("..", "..", "..", "deploy", "examples", "cluster", "http.yaml"))
	c.must("rollout", "status", "deployment/http", "--timeout=110s")
	pods := c.apiPods("app=http")
	var ips []string
	for _, p := range pods {
		ips = append(ips, p.Status.PodIP)
		c.awaitGreeting(net.JoinHostPort(p.Status.PodIP, "8080"), p.Name)
	}
	slices.Sort(ips)
	c.await("the EndpointSlice", func() error {
		got := strings.Fields(c.must("get", "endpointslices", "-l", "kubernetes.io/service-name=http", "-o",
			"jsonpath={.items[*].endpoints[*].addresses[0]} {.items[0].ports[0].port}"))
		slices.Sort(got)
		if want := slices.Sorted(slices.Values(append(slices.Clone(ips), "8080"))); !slices.Equal(got, want) {
			return fmt.Errorf("it has %v, want %v", got, want)
		}
		return nil
	})
	for _, sockets := range []string{"true", "false"} { // SPDY through WebSocket, and without
		line := c.background([]string{"KUBECTL_PORT_FORWARD_WEBSOCKETS=" + sockets}, "Forwarding from", filepath.Join(bin, "kubectl"),
			"--kubeconfig", filepath.Join(c.dir, "admin.kubeconfig"), "port-forward", "pod/"+pods[0].Name, "--address=127.0.0.1", ":http")
		for range 3 {
			c.awaitGreeting(forwardedPort(t, line), pods[0].Name)
		}
	}
	passed := `apiserver_websocket_streaming_requests_total{proxy_type="proxied_to_kubelet",subresource="portforward"}`
	if metrics := c.must("get", "--raw", "/metrics"); !strings.Contains(metrics, passed) {
		t.Errorf("the API server has no %s", passed)
	}
	c.testEgress("http://" + net.JoinHostPort(pods[0].Status.PodIP, "8080") + "/")
	for _, class := range []string{"wasm", "wasm-shared"} {
		c.testHandlers(class)
	}
	c.signal(syscall.SIGKILL) // the sockets are the shims'
	c.awaitGreeting(net.JoinHostPort(pods[1].Status.PodIP, "8080"), pods[1].Name)
	c.startOnly()
	c.testPortInUse()
}

// A static Pod begins before its node has an address. Its hostPort is bound once there is one.
func TestHostPortBeforeTheAddress(t *testing.T) {
	c := newControlPlane(t, "")
	c.importImage(filepath.Join(bin, "examples", "http.wasm"), "localhost/wazlet-examples/http:v1")
	c.signal(syscall.SIGKILL)
	const ip = "10.98.0.77" // which the machine has not yet
	c.configureAt(ip, "")
	p := pod("early", corev1.RestartPolicyAlways)
	p.Spec.Containers[0].Image = "localhost/wazlet-examples/http:v1"
	p.Spec.Containers[0].Ports = []corev1.ContainerPort{{Name: "http", ContainerPort: 8080, HostPort: 9091}}
	c.apply(p)
	c.startOnly()
	shows := func(path, want string) {
		c.await("the mirror Pod to show "+want, func() error {
			out, err := c.kubectl("get", "pod", "early-edge", "-o", "jsonpath="+path)
			if err == nil && out != want {
				err = errors.New("it shows something else")
			}
			return because(err, out)
		})
	}
	shows("{.status.containerStatuses[0].state.waiting.reason}: {.status.containerStatuses[0].state.waiting.message}",
		"CreateContainerConfigError: ports[0].hostPort: host IP unknown: the node has no address yet")
	add := exec.Command(c.inside[0], slices.Concat(c.inside[1:], []string{"ip", "address", "add", ip + "/32", "dev", "lo"})...)
	if out, err := add.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	c.awaitGreeting(net.JoinHostPort(ip, "9091"), "early-edge")
	shows("{.status.phase} {.status.hostIP}", "Running "+ip)
}

// testEgress has guests connect to another Pod: one that may, and one that may not.
func (c *controlPlane) testEgress(url string) {
	c.importImage(filepath.Join(bin, "examples", "http-client.wasm"), "localhost/wazlet-examples/http-client:v1")
	for name, annotation := range map[string]string{"client-allowed": "10.0.0.0/8:8080", "client-refused": "10.0.0.0/8:443"} {
		p := pod(name, corev1.RestartPolicyNever, url)
		p.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}
		p.Annotations = map[string]string{"wazlet.dev/allowed-egress": annotation}
		p.Spec.NodeName, p.Spec.Tolerations = "edge", []corev1.Toleration{{Operator: corev1.TolerationOpExists}}
		p.Spec.Containers[0].Image = "localhost/wazlet-examples/http-client:v1"
		c.create(p)
	}
	c.must("wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/client-allowed", "--timeout=60s")
	if out := c.must("logs", "client-allowed"); !strings.HasPrefix(out, "200 OK\nhello from ") {
		c.t.Errorf("the client that may connect says %q", out)
	}
	c.must("wait", "--for=jsonpath={.status.phase}=Failed", "pod/client-refused", "--timeout=60s")
	if out := c.must("logs", "client-refused"); !strings.Contains(out, "Permission denied") {
		c.t.Errorf("the client that may not connect says %q", out)
	}
	c.await("the Event", func() error {
		out := c.must("describe", "pod", "client-refused")
		if !strings.Contains(out, "EgressRefused") || !strings.Contains(out, "it is not in the Pod's annotation wazlet.dev/allowed-egress") {
			return errors.New(out)
		}
		return nil
	})
}

// awaitGreeting waits for the example's answer.
func (c *controlPlane) awaitGreeting(address, pod string) {
	c.t.Helper()
	c.await("an answer from "+address, func() error {
		out, err := c.curl(address)
		if want := "hello from " + pod + ", which you reached at " + address + "\n"; err == nil && out != want {
			err = fmt.Errorf("want %q", want)
		}
		return because(err, out)
	})
}

// testPortInUse has something else listen where a Pod wants to, for a while.
func (c *controlPlane) testPortInUse() {
	const address = "10.99.0.2:9090"
	self, err := os.Executable()
	if err != nil {
		c.t.Fatal(err)
	}
	_, stop := c.launch([]string{serveEnv + "=" + address}, "listening", self)
	p := pod("busy", corev1.RestartPolicyAlways)
	p.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}
	p.Spec.NodeName, p.Spec.Tolerations = "edge", []corev1.Toleration{{Operator: corev1.TolerationOpExists}}
	p.Spec.Containers[0].Image = "localhost/wazlet-examples/http:v1"
	p.Spec.Containers[0].Ports = []corev1.ContainerPort{{Name: "http", ContainerPort: 8080, HostPort: 9090}}
	c.create(p)
	c.await("the Pod to say why it waits", func() error {
		out := c.must("get", "pod", "busy", "-o", "jsonpath={.status.containerStatuses[0].state.waiting}")
		for _, want := range []string{"RunContainerError", "bind tcp " + address + " (port http): address already in use"} {
			if !strings.Contains(out, want) {
				return fmt.Errorf("it says %q, want %q", out, want)
			}
		}
		return nil
	})
	c.await("the Event", func() error {
		if out := c.must("describe", "pod", "busy"); !strings.Contains(out, "address already in use") {
			return errors.New(out)
		}
		return nil
	})
	stop()
	c.awaitGreeting(address, "busy")
}

// forwardedPort takes the local address from "Forwarding from 127.0.0.1:40001 -> 8080".
func forwardedPort(t *testing.T, line string) string {
	t.Helper()
	fields := strings.Fields(line)
	if len(fields) < 3 {
		t.Fatalf("kubectl port-forward says %q", line)
	}
	return fields[2]
}

// curl asks for http://ADDRESS/ from inside the network namespace.
func (c *controlPlane) curl(address string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, c.inside[0], append(slices.Clone(c.inside[1:]), self)...)
	cmd.Env = append(os.Environ(), getEnv+"=http://"+address+"/")
	var failed strings.Builder
	cmd.Stderr = &failed
	out, err := cmd.Output()
	return string(out), because(err, failed.String())
}

// getEnv has this binary be a client inside a network namespace.
const getEnv = "WAZLET_E2E_GET"

func get(url string) error {
	r, err := http.Get(url) //nolint:gosec,noctx // of a test
	if err != nil {
		return err
	}
	defer r.Body.Close()
	_, err = io.Copy(os.Stdout, r.Body)
	if r.StatusCode != http.StatusOK {
		err = errors.Join(err, errors.New(r.Status))
	}
	return err
}

// background runs a command inside the network namespace until the test ends. It returns the line of its output that
// begins with want.
func (c *controlPlane) background(env []string, want string, line ...string) string {
	c.t.Helper()
	said, stop := c.launch(env, want, line...)
	c.t.Cleanup(stop)
	return said
}

// launch is background until stop is called.
func (c *controlPlane) launch(env []string, want string, line ...string) (said string, stop func()) {
	t := c.t
	t.Helper()
	cmd := exec.Command(c.inside[0], slices.Concat(c.inside[1:], line)...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop = func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if strings.HasPrefix(lines.Text(), want) {
			go func() { _, _ = io.Copy(io.Discard, out) }() // ends with the process
			return lines.Text(), stop
		}
	}
	stop()
	t.Fatalf("%s ended without saying %q", strings.Join(line, " "), want)
	return "", nil
}
