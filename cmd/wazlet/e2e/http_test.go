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
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// handler is a Pod whose container is an HTTP handler at port 8080.
func handler(name string, annotations map[string]string) corev1.Pod {
	p := pod(name, corev1.RestartPolicyAlways, "cgi")
	p.Annotations = map[string]string{"wazlet.dev/http-handler": "cgi"}
	for k, v := range annotations {
		p.Annotations["wazlet.dev/http-handler-"+k] = v
	}
	p.Spec.Containers[0].Ports = []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}}
	return p
}

// ask asks a handler and returns status and body.
func (n *node) ask(p corev1.Pod, path string) (string, error) {
	ctx, cancel := context.WithTimeout(n.t.Context(), patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.Status.PodIP+":8080"+path, nil)
	if err != nil {
		return "", err
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return fmt.Sprintf("%d %s", res.StatusCode, b), err
}

// answers wants an answer of a handler at once: a Pod that runs serves.
func (n *node) answers(p corev1.Pod, path, want string) {
	n.t.Helper()
	if got, err := n.ask(p, path); err != nil || got != want {
		n.t.Errorf("%s answers %s with %q (%v), want %q", p.Name, path, got, err, want)
	}
}

func (n *node) logs(pod, want string) {
	n.t.Helper()
	n.await("a line in the log of "+pod, func() error {
		out, err := n.try("logs", pod)
		if err == nil && !strings.Contains(out, want) {
			err = fmt.Errorf("want %q", want)
		}
		return because(err, out)
	})
}

// Each request at a handler's port is an instance of its own, also of a guest that never ends, and whatever becomes of the
// daemon.
func TestHTTPHandler(t *testing.T) {
	n := newNode(t)
	n.configure("podCIDR: 127.91.0.0/28\nhttpHandlers: {timeout: {default: 1m, max: 1m}}\n")
	n.start()
	n.apply(handler("web", nil))
	n.apply(handler("short", map[string]string{"timeout": "1s"}))
	n.apply(handler("wrong", map[string]string{"timeout": "2m"}))
	web := n.awaitPod("web", "running", running)
	n.answers(web, "/hello?a=b", "200 GET /hello a=b")
	n.answers(web, "/hello", "200 GET /hello ")
	n.logs("web", `"GET /hello?a=b HTTP/1.1" 200 14 "-" "Go-http-client/1.1"`)
	n.answers(web, "/fail", "502 502 Bad Gateway\n")
	n.logs("web", "wazlet: GET \"/fail\": exit code 3\n")

	short := n.awaitPod("short", "running", running)
	n.answers(short, "/spin", "504 504 Gateway Timeout\n")
	n.answers(short, "/hello", "200 GET /hello ")

	wrong := n.awaitPod("wrong", "refused", func(p corev1.Pod) bool { return waitingFor(p, "CreateContainerConfigError") })
	const why = `annotation wazlet.dev/http-handler-timeout: want 1ms to 1m0s, as in 30s (got "2m")`
	if got := wrong.Status.ContainerStatuses[0].State.Waiting.Message; got != why {
		t.Errorf("it says %q, want %q", got, why)
	}

	n.signal(syscall.SIGKILL)
	n.answers(web, "/hello", "200 GET /hello ")
	n.start()
	n.awaitPod("web", "running", running)
	n.answers(web, "/hello", "200 GET /hello ")
	n.endsGracefully(web)
}

// endsGracefully removes a handler's manifest in the middle of a request: its port is closed, the request is answered.
func (n *node) endsGracefully(p corev1.Pod) {
	n.t.Helper()
	address := p.Status.PodIP + ":8080"
	c, err := net.Dial("tcp", address)
	if err != nil {
		n.t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		n.t.Fatal(err)
	}
	send := func(text string) {
		n.t.Helper()
		if _, err := io.WriteString(c, text); err != nil {
			n.t.Fatal(err)
		}
	}
	send("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 8\r\nExpect: 100-continue\r\n\r\n")
	r := bufio.NewReader(c)
	if line, err := r.ReadString('\n'); err != nil || line != "HTTP/1.1 100 Continue\r\n" { // the guest reads
		n.t.Fatalf("%q %v", line, err)
	}
	_, _ = r.ReadString('\n')
	if err := os.Remove(n.manifest(strings.TrimSuffix(p.Name, "-"+n.nodeName))); err != nil {
		n.t.Fatal(err)
	}
	n.await("the port to be closed", func() error {
		c, err := net.Dial("tcp", address)
		if errors.Is(err, syscall.ECONNREFUSED) {
			return nil
		}
		if err == nil {
			_ = c.Close()
		}
		return fmt.Errorf("dial: %w", err)
	})
	send("whatever")
	res, err := http.ReadResponse(r, nil)
	if err != nil {
		n.t.Fatal(err)
	}
	defer res.Body.Close()
	if b, err := io.ReadAll(res.Body); err != nil || string(b) != "whatever" {
		n.t.Errorf("the answer is %q (%v)", b, err)
	}
	n.await("the Pod to be gone", func() error {
		if _, there := n.pods()[strings.TrimSuffix(p.Name, "-"+n.nodeName)]; there {
			return errors.New("it is still listed")
		}
		return nil
	})
}
