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
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// handlers are a Deployment of HTTP handlers, two requests at a time each, and its Service. release is only another text, which makes
// new Pods.
func handlers(app, class, release string) []any {
	d := deployment(app, 2, "cgi")
	grace := int64(patience / time.Second)
	t := &d.Spec.Template
	t.Annotations = map[string]string{
		"wazlet.dev/http-handler": "cgi", "wazlet.dev/http-handler-max-concurrency": "2", "wazlet.dev/http-handler-timeout": "2m", "release": release,
	}
	t.Spec.RuntimeClassName, t.Spec.TerminationGracePeriodSeconds = &class, &grace
	main := &t.Spec.Containers[0]
	main.Ports = []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}}
	main.ReadinessProbe = &corev1.Probe{
		// A node that probes, which this one does not yet, takes the place of a request with it.
		ProbeHandler:  corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/ready", Port: intstr.FromString("http")}},
		PeriodSeconds: 1, TimeoutSeconds: 60, FailureThreshold: 1000,
	}
	return []any{d, corev1.Service{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Service"}, ObjectMeta: metav1.ObjectMeta{Name: app},
		Spec: corev1.ServiceSpec{
			Selector: map[string]string{"app": app}, Ports: []corev1.ServicePort{{Name: "http", Port: 80, TargetPort: intstr.FromString("http")}},
		},
	}}
}

// dial connects from inside the network namespace.
func (c *controlPlane) dial(address string) (net.Conn, error) {
	type result struct {
		conn net.Conn
		err  error
	}
	done := make(chan result)
	go func() {
		runtime.LockOSThread() // and never unlocks: the thread, which is in the namespace from now on, ends with this goroutine
		ns, err := os.Open(filepath.Join("/run/netns", c.netns))
		if err == nil {
			err = errors.Join(unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET), ns.Close())
		}
		var conn net.Conn
		if err == nil {
			conn, err = net.DialTimeout("tcp", address, patience) // an address, so that it is this thread that makes the socket
		}
		if err == nil {
			err = conn.SetDeadline(time.Now().Add(patience))
		}
		done <- result{conn, err}
	}()
	r := <-done
	return r.conn, r.err
}

// client is one whose connections begin inside the network namespace, one for each request.
func (c *controlPlane) client() *http.Client {
	return &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(_ context.Context, _, address string) (net.Conn, error) { return c.dial(address) },
	}}
}

// ask returns status and body.
func (c *controlPlane) ask(address, path string) (string, error) {
	res, err := c.client().Get("http://" + address + path)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return fmt.Sprintf("%d %s", res.StatusCode, b), err
}

func (c *controlPlane) answers(address, path, want string) {
	c.t.Helper()
	if got, err := c.ask(address, path); got != want || err != nil {
		c.t.Errorf("%s%s is answered with %q (%v), want %q", address, path, got, err, want)
	}
}

// held is a request that its guest has begun to answer and cannot finish, since it waits for the body.
type held struct {
	net.Conn
	from *bufio.Reader
}

func (c *controlPlane) hold(address string) *held {
	c.t.Helper()
	conn, err := c.dial(address)
	if err == nil {
		_, err = io.WriteString(conn, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 8\r\nExpect: 100-continue\r\n\r\n")
	}
	if err != nil {
		c.t.Fatal(err)
	}
	h := &held{conn, bufio.NewReader(conn)}
	for _, want := range []string{"HTTP/1.1 100 Continue\r\n", "\r\n"} { // the guest reads
		if line, err := h.from.ReadString('\n'); err != nil || line != want {
			c.t.Fatalf("%s answers %q (%v), want %q", address, line, err, want)
		}
	}
	return h
}

// finish sends the body and wants it back.
func (h *held) finish() error {
	defer h.Close()
	if _, err := io.WriteString(h, "whatever"); err != nil {
		return err
	}
	res, err := http.ReadResponse(h.from, nil)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if b, err := io.ReadAll(res.Body); err != nil || res.StatusCode != http.StatusOK || string(b) != "whatever" {
		return fmt.Errorf("the answer is %d %q (%w)", res.StatusCode, b, err)
	}
	return nil
}

// testHandlers are modules that serve HTTP without a listener of their own: behind a Service, logged, bounded, updated without
// a request that fails.
func (c *controlPlane) testHandlers(class string) {
	app := "cgi-" + class
	c.create(handlers(app, class, "one")...)
	c.must("rollout", "status", "deployment/"+app, "--timeout=110s")
	pods := c.awaitEndpoints(app, nil)
	address := pods[0].Status.PodIP + ":8080"
	c.answers(address, "/hello?a=b", "200 GET /hello a=b")
	c.answers(address, "/fail", "502 502 Bad Gateway\n")
	c.answers(address, "/trap", "502 502 Bad Gateway\n")
	c.testFull(address)
	line := c.background(nil, "Forwarding from", filepath.Join(bin, "kubectl"), "--kubeconfig", filepath.Join(c.dir, "admin.kubeconfig"),
		"port-forward", "service/"+app, "--address=127.0.0.1", ":http")
	c.answers(forwardedPort(c.t, line), "/forwarded", "200 GET /forwarded ")
	for _, want := range []string{
		`"GET /hello?a=b HTTP/1.1" 200 14 "-" "Go-http-client/1.1"`, `"GET /full HTTP/1.1" 503`,
		`wazlet: GET "/fail": exit code 3`, "panic: asked for it",
	} {
		c.logged(pods[0].Name, want)
	}
	c.testHandlerTimeout(class)
	c.testHandlerUpdate(app, class, pods)
	c.must("delete", "deployment/"+app, "service/"+app)
	c.awaitPods("app="+app, 0)
}

// awaitEndpoints waits until the Service leads to two Pods, none of them among the old.
func (c *controlPlane) awaitEndpoints(app string, old []corev1.Pod) (pods []corev1.Pod) {
	c.t.Helper()
	c.await("the EndpointSlice of "+app, func() error {
		pods = slices.DeleteFunc(c.apiPods("app="+app), func(p corev1.Pod) bool {
			return slices.ContainsFunc(old, func(o corev1.Pod) bool { return o.Name == p.Name })
		})
		var want []string
		for _, p := range pods {
			want = append(want, p.Status.PodIP)
		}
		got := c.endpoints(app)
		slices.Sort(got)
		slices.Sort(want)
		if len(want) != 2 || !slices.Equal(got, want) {
			return fmt.Errorf("it has %v, want %v", got, want)
		}
		return nil
	})
	return pods
}

// logged waits for a text in a Pod's log.
func (c *controlPlane) logged(pod, want string) {
	c.t.Helper()
	c.await("the log of "+pod, func() error {
		out, err := c.kubectl("logs", pod)
		if err == nil && !strings.Contains(out, want) {
			err = fmt.Errorf("it has no %q", want)
		}
		return because(err, out)
	})
}

// testFull asks more of a handler than it does at a time: two requests run, eight wait, and the rest is refused at once.
func (c *controlPlane) testFull(address string) {
	running := []*held{c.hold(address), c.hold(address)}
	const many = 9 // the probes may take a place, too
	answers := make(chan string, many)
	for range many {
		go func() {
			got, err := c.ask(address, "/full")
			answers <- fmt.Sprint(got, err)
		}()
	}
	const refused, answered = "503 503 Service Unavailable\n<nil>", "200 GET /full <nil>"
	if got := <-answers; got != refused {
		c.t.Errorf("the first answer of a handler that is full is %q, want %q", got, refused)
	}
	for _, h := range running {
		if err := h.finish(); err != nil {
			c.t.Error(err)
		}
	}
	for range many - 1 {
		if got := <-answers; got != refused && got != answered {
			c.t.Errorf("a handler that was full answers %q", got)
		}
	}
}

// testHandlerTimeout has a guest that never ends, in a Pod that allows a second.
func (c *controlPlane) testHandlerTimeout(class string) {
	p := handler("slow", map[string]string{"timeout": "1s"})
	p.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}
	p.Spec.RuntimeClassName = &class
	c.create(p)
	c.must("wait", "--for=condition=Ready", "pod/slow", "--timeout=60s")
	address := c.must("get", "pod", "slow", "-o", "jsonpath={.status.podIP}") + ":8080"
	c.answers(address, "/spin", "504 504 Gateway Timeout\n")
	c.answers(address, "/hello", "200 GET /hello ")
	c.logged("slow", `wazlet: GET "/spin": not done in time`)
	if got := c.must("get", "pod", "slow", "-o", "jsonpath={.status.containerStatuses[0].restartCount}"); got != "0" {
		c.t.Errorf("it was restarted %s times", got)
	}
	c.must("delete", "pod", "slow")
}

// testHandlerUpdate replaces the Pods in the middle of a request to each, and beside many short ones to whatever the Service leads to:
// what was begun is answered, by the old ones, and nothing fails.
func (c *controlPlane) testHandlerUpdate(app, class string, old []corev1.Pod) {
	var open []*held
	for _, p := range old {
		open = append(open, c.hold(p.Status.PodIP+":8080"))
	}
	stop := c.askAlong(app)
	c.create(handlers(app, class, "two")[0])
	c.must("rollout", "status", "deployment/"+app, "--timeout=110s")
	pods := c.awaitEndpoints(app, old)
	stop()
	for i, p := range old {
		c.awaitClosed(p.Status.PodIP + ":8080")
		if err := open[i].finish(); err != nil {
			c.t.Errorf("the request that %s had begun with: %v", p.Name, err)
		}
	}
	for _, p := range pods {
		c.answers(p.Status.PodIP+":8080", "/new", "200 GET /new ")
	}
	c.awaitPods("app="+app, len(pods))
}

// awaitClosed waits until nobody listens at an address.
func (c *controlPlane) awaitClosed(address string) {
	c.t.Helper()
	c.await(address+" to take no more requests", func() error {
		conn, err := c.dial(address)
		if errors.Is(err, syscall.ECONNREFUSED) {
			return nil
		}
		if err == nil {
			_ = conn.Close()
		}
		return fmt.Errorf("dial: %w", err)
	})
}

// askAlong asks the ready endpoints of a Service again and again until the function that it returns is called. One that has just
// been told to end may refuse a connection, which a client makes elsewhere then; what it takes it answers.
func (c *controlPlane) askAlong(app string) (stop func()) {
	var over atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		for !over.Load() {
			for _, address := range c.endpoints(app) {
				got, err := c.ask(address+":8080", "/along")
				refused := errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ECONNRESET)
				if !refused && (err != nil || got != "200 GET /along ") {
					c.t.Errorf("while the Pods are replaced %s answers %q (%v)", address, got, err)
				}
			}
		}
	}()
	stop = func() {
		over.Store(true)
		<-done
	}
	c.t.Cleanup(stop)
	return stop
}

// endpoints are the addresses that a Service leads to.
func (c *controlPlane) endpoints(app string) (ready []string) {
	out, err := c.kubectl("get", "endpointslices", "-l", "kubernetes.io/service-name="+app, "-o",
		`jsonpath={range .items[*].endpoints[?(@.conditions.ready==true)]}{.addresses[0]}{"\n"}{end}`)
	if err != nil {
		return nil
	}
	return strings.Fields(out)
}
