//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// A Pod's life costs the API what it has to say, and no request more.
func (c *controlPlane) testLife() {
	t := c.t
	c.oneLife("first") // of its module, too, which has to be compiled
	spent := c.oneLife("life")
	events := c.must("get", "events", "--field-selector=involvedObject.name=life",
		"-o", `jsonpath={range .items[*]}{.source.component}{.reportingComponent} {.reason}: {.message}{"\n"}{end}`)
	t.Logf("requests: %v\nevents:\n%s", spent, events)
	// It runs, it has ended; and, where that takes longer than a second, that it is being created, has an address, is being deleted.
	if n := spent["PATCH pods/status"]; n < 2 || n > 5 {
		t.Errorf("%d statuses were written, want 2, or as many as 5 on a machine that is busy", n)
	}
	if n := spent["DELETE pods"]; n != 2 { // kubectl's and the node's
		t.Errorf("it was deleted %d times, want 2", n)
	}
	// One that was given: the API server refuses it until its authorizer has heard of the Pod, too.
	if n := spent["POST serviceaccounts/token"]; n != 1 {
		t.Errorf("%d tokens were given, want 1", n)
	}
	counted := c.must("get", "--raw", "/api/v1/nodes/edge/proxy/metrics")
	for _, name := range []string{
		"pod_worker_start_duration_seconds_count", "pod_start_duration_seconds_count",
		`pod_worker_duration_seconds_count{operation_type="create"}`, `pod_worker_duration_seconds_count{operation_type="kill"}`,
		`runtime_operations_total{operation_type="compile_module"}`, `runtime_operations_total{operation_type="start_container"}`,
		`runtime_operations_total{operation_type="stop_container"}`, `certificate_manager_server_ttl_seconds`,
	} {
		if !regexp.MustCompile(`(?m)^kubelet_` + regexp.QuoteMeta(name) + ` [1-9]`).MatchString(counted) {
			t.Errorf("after two Pods the node has not counted %s", name)
		}
	}
}

// oneLife makes a Pod, waits until it is ready, deletes it, and returns what the API server was asked.
func (c *controlPlane) oneLife(name string) map[string]int {
	before := c.requests()
	c.create(corev1.Pod{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}, ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: template(name, corev1.RestartPolicyAlways, "idle").Spec,
	})
	c.must("wait", "--for=condition=Ready", "pod/"+name, "--timeout=60s")
	c.must("delete", "pod/"+name, "--timeout=60s")
	spent := map[string]int{}
	for what, n := range c.requests() {
		if n > before[what] {
			spent[what] = n - before[what]
		}
	}
	return spent
}

// requests are those that the API server has done so far, by verb and resource, without those that it has refused.
func (c *controlPlane) requests() map[string]int {
	c.t.Helper()
	label := regexp.MustCompile(`(\w+)="([^"]*)"`)
	out := map[string]int{}
	for line := range strings.Lines(c.must("get", "--raw", "/metrics")) {
		rest, found := strings.CutPrefix(line, "apiserver_request_total{")
		if !found {
			continue
		}
		labels := map[string]string{}
		for _, m := range label.FindAllStringSubmatch(rest, -1) {
			labels[m[1]] = m[2]
		}
		name := labels["verb"] + " " + labels["resource"]
		if sub := labels["subresource"]; sub != "" {
			name += "/" + sub
		}
		n, err := strconv.ParseFloat(strings.TrimSpace(rest[strings.LastIndexByte(rest, ' '):]), 64)
		if err != nil {
			c.t.Fatalf("%v in %q", err, line)
		}
		if done := strings.HasPrefix(labels["code"], "2"); done &&
			slices.Contains([]string{"pods", "events", "serviceaccounts", "configmaps", "secrets"}, labels["resource"]) {
			out[name] += int(n)
		}
	}
	return out
}

// testNodeLogs asks for logs of the node as kubectl does.
func (c *controlPlane) testNodeLogs() {
	if out := c.must("get", "--raw", "/api/v1/nodes/edge/proxy/logs/?query=agent-of-the-test"); out != "its log\n" {
		c.t.Errorf("the log of a service: %q", out)
	}
	if out, err := c.kubectl("get", "--raw", "/api/v1/nodes/edge/proxy/logs/?query=/../../etc/passwd"); err == nil || !strings.Contains(out, "file does not exist") {
		c.t.Errorf("what is outside: %q, %v", out, err)
	}
}

// testEmptyDrain ends a node that has no Pods, which takes no time: the API knows of it all the same.
func (c *controlPlane) testEmptyDrain() {
	c.awaitPods("", 0)
	c.signal(syscall.SIGINT)
	got := c.must("get", "node", "edge", "-o", `jsonpath={range .status.conditions[?(@.type=="Ready")]}{.status} {.reason} {.message}{end}`)
	if want := "False KubeletNotReady node is shutting down"; !strings.HasPrefix(got, want) {
		c.t.Errorf("the node that was drained is %q, want %q", got, want)
	}
	c.startOnly()
	c.await("the node to be ready again", func() error {
		out, err := c.kubectl("wait", "--for=condition=Ready", "node/edge", "--timeout=10s")
		return because(err, out)
	})
}

// testSlowPull pulls from a registry that takes its time: meanwhile the Pod is seen to be created, address and all.
func (c *controlPlane) testSlowPull() {
	registry := c.listenInside() // nobody accepts what arrives
	defer registry.Close()
	p := corev1.Pod{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}, ObjectMeta: metav1.ObjectMeta{Name: "slow", Labels: map[string]string{"app": "slow"}},
		Spec: template("slow", corev1.RestartPolicyAlways).Spec,
	}
	p.Spec.Containers[0].Image, p.Spec.Containers[0].ImagePullPolicy = registry.Addr().String()+"/slow:v1", corev1.PullAlways
	c.create(p)
	c.await("ContainerCreating", func() error {
		pods := c.apiPods("app=slow")
		if len(pods) != 1 || len(pods[0].Status.ContainerStatuses) != 1 {
			return errors.New("there is no status")
		}
		s := pods[0].Status
		ready := slices.ContainsFunc(s.Conditions, func(c corev1.PodCondition) bool {
			return c.Type == corev1.PodReadyToStartContainers && c.Status == corev1.ConditionTrue
		})
		if w := s.ContainerStatuses[0].State.Waiting; w == nil || w.Reason != "ContainerCreating" || s.PodIP == "" || s.StartTime == nil || !ready {
			return fmt.Errorf("status %+v", s)
		}
		return nil
	})
	c.must("delete", "pod/slow", "--grace-period=1", "--timeout=60s")
}
