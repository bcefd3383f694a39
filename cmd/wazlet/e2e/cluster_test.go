//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// controlPlane is a real one in a network namespace of its own, with one wazlet as its node.
type controlPlane struct {
	*node
	dir, netns string
}

// planes counts the control planes, whose network namespaces need names of their own.
var planes atomic.Int32

// newControlPlane starts everything: devcluster with more flags, the node with more configuration. It needs root, for the
// network namespace.
func newControlPlane(t *testing.T, config string, flags ...string) *controlPlane {
	t.Helper()
	if os.Geteuid() != 0 {
		if os.Getenv("CI") != "" {
			t.Fatal("the cluster's tests need root, for network namespaces")
		}
		t.Skip("the cluster's tests need root, for network namespaces")
	}
	c := &controlPlane{
		dir: filepath.Join(t.TempDir(), "plane"), netns: fmt.Sprintf("wazlet-e2e-%d-%d", os.Getpid(), planes.Add(1)),
		node: newNode(t),
	}
	t.Cleanup(func() { c.devcluster("down", "--dir", c.dir, "--purge") })
	c.devcluster(append([]string{"up", "--dir", c.dir, "--netns", c.netns}, flags...)...)
	c.configureAt("10.99.0.2", config)
	c.inside = []string{"nsenter", "--net=/run/netns/" + c.netns} // ip netns exec hides the cgroups, and all limits with them
	t.Cleanup(c.cleanUp)                                          // before the control plane goes
	c.startOnly()
	c.await("the node to be ready", func() error {
		out, err := c.kubectl("wait", "--for=condition=Ready", "node/edge", "--timeout=10s")
		return because(err, out)
	})
	return c
}

// configureAt has the node join with an address.
func (c *controlPlane) configureAt(nodeIP, config string) {
	c.t.Helper()
	c.configure(config + strings.Join([]string{
		"nodeIP: " + nodeIP,
		"kubeconfig: " + filepath.Join(c.root, "kubeconfig"),
		"bootstrapKubeconfig: " + filepath.Join(c.dir, "bootstrap.kubeconfig"), "",
	}, "\n"))
}

func (c *controlPlane) devcluster(args ...string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	if out, err := exec.CommandContext(ctx, filepath.Join(bin, "devcluster"), args...).CombinedOutput(); err != nil {
		c.t.Fatalf("devcluster %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// kubectl runs the real one as the administrator.
func (c *controlPlane) kubectl(args ...string) (string, error) {
	return c.kubectlWith(nil, args...)
}

func (c *controlPlane) kubectlWith(stdin []byte, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	line := slices.Concat(c.inside, []string{filepath.Join(bin, "kubectl"), "--kubeconfig", filepath.Join(c.dir, "admin.kubeconfig")}, args)
	cmd := exec.CommandContext(ctx, line[0], line[1:]...)
	cmd.Stdin = bytes.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (c *controlPlane) must(args ...string) string {
	c.t.Helper()
	out, err := c.kubectl(args...)
	if err != nil {
		c.t.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// create applies objects.
func (c *controlPlane) create(objects ...any) {
	c.t.Helper()
	for _, o := range objects {
		text, err := yaml.Marshal(o)
		if err != nil {
			c.t.Fatal(err)
		}
		if out, err := c.kubectlWith(text, "apply", "-f", "-"); err != nil {
			c.t.Fatalf("kubectl apply: %v\n%s\n%s", err, out, text)
		}
	}
}

// apiPods lists Pods by label, as the API has them.
func (c *controlPlane) apiPods(selector string) []corev1.Pod {
	c.t.Helper()
	var list corev1.PodList
	if err := json.Unmarshal([]byte(c.must("get", "pods", "-A", "-l", selector, "-o", "json")), &list); err != nil {
		c.t.Fatal(err)
	}
	return list.Items
}

func because(err error, out string) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %s", err, out)
}

// template is a Pod template for the wasm node.
func template(app string, policy corev1.RestartPolicy, args ...string) corev1.PodTemplateSpec {
	p := pod(app, policy, args...)
	grace := int64(5)
	p.Spec.TerminationGracePeriodSeconds = &grace
	p.Spec.NodeSelector = map[string]string{"kubernetes.io/arch": "wasm32-wasi"}
	p.Spec.Tolerations = []corev1.Toleration{{Key: "kubernetes.io/arch", Value: "wasm32-wasi"}}
	return corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": app}}, Spec: p.Spec}
}

func deployment(app string, replicas int32, args ...string) appsv1.Deployment {
	return appsv1.Deployment{
		TypeMeta:   metav1.TypeMeta{APIVersion: "apps/v1", Kind: "Deployment"},
		ObjectMeta: metav1.ObjectMeta{Name: app},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": app}},
			Template: template(app, corev1.RestartPolicyAlways, args...),
		},
	}
}

// scene is a subtest on a control plane that others use before and after it.
type scene struct {
	name string
	test func(*controlPlane)
}

// run plays the scenes in their order.
func (c *controlPlane) run(scenes []scene) {
	for _, s := range scenes {
		c.t.Run(s.name, func(t *testing.T) {
			sub := *c
			n := *c.node
			n.t, sub.node = t, &n
			s.test(&sub)
			c.cmd, c.log = n.cmd, n.log
		})
	}
}

// A real control plane cannot tell our node from any other, except that its Pods are wasm.
func TestCluster(t *testing.T) {
	t.Parallel()
	logs := t.TempDir()
	if err := os.WriteFile(filepath.Join(logs, "agent-of-the-test.log"), []byte("its log\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	newControlPlane(t, "kubeletServer: {systemLogs: {query: true, dir: "+logs+"}}\n").run([]scene{
		{"the node is registered", (*controlPlane).testNode},
		{"kubectl reads the node's logs", (*controlPlane).testNodeLogs},
		{"a Pod's life is told in few words", (*controlPlane).testLife},
		{"a slow pull is shown", (*controlPlane).testSlowPull},
		{"a Deployment becomes available, is updated and scaled", (*controlPlane).testDeployment},
		{"Jobs end with exact exit codes", (*controlPlane).testJobs},
		{"limits hold", (*controlPlane).testLimits},
		{"Krustlet's demonstration", (*controlPlane).testKrustletDemo},
		{"a static Pod has a mirror", (*controlPlane).testMirror},
		{"the daemon is killed and comes back", (*controlPlane).testDaemonRestart},
		{"the control plane goes away and comes back", (*controlPlane).testPlaneRestart},
		{"a drain without Pods is told", (*controlPlane).testEmptyDrain},
	})
}

func (c *controlPlane) testNode() {
	t := c.t
	var n corev1.Node
	if err := json.Unmarshal([]byte(c.must("get", "node", "edge", "-o", "json")), &n); err != nil {
		t.Fatal(err)
	}
	for label, want := range map[string]string{
		"kubernetes.io/os": "linux", "kubernetes.io/arch": "wasm32-wasi", "beta.kubernetes.io/arch": "wasm32-wasi",
		"kubernetes.io/hostname": "edge", "wazlet.dev/wasi": "p1",
	} {
		if n.Labels[label] != want {
			t.Errorf("label %s is %q, want %q", label, n.Labels[label], want)
		}
	}
	for _, effect := range []corev1.TaintEffect{corev1.TaintEffectNoSchedule, corev1.TaintEffectNoExecute} {
		if !slices.ContainsFunc(n.Spec.Taints, func(t corev1.Taint) bool {
			return t.Key == "kubernetes.io/arch" && t.Value == "wasm32-wasi" && t.Effect == effect
		}) {
			t.Errorf("taints %v, want kubernetes.io/arch=wasm32-wasi:%s", n.Spec.Taints, effect)
		}
	}
	if n.Status.NodeInfo.Architecture != "wasm-wasi" || n.Status.NodeInfo.KubeletVersion != "v1.36.3" || n.Status.Capacity.Memory().IsZero() {
		t.Errorf("status %+v", n.Status)
	}
	if out := c.must("get", "lease", "edge", "-n", "kube-node-lease", "-o", "jsonpath={.spec.holderIdentity}"); out != "edge" {
		t.Errorf("the lease is held by %q", out)
	}
	for path, want := range map[string]string{
		"metrics": "kubelet_running_pods", "metrics/resource": "node_cpu_usage_seconds_total", "metrics/probes": "process_start_time_seconds",
		"configz": `"kubeletconfig"`, "stats/summary": `"nodeName": "edge"`, "pods": `"kind":"PodList"`, "runningpods/": `"kind":"PodList"`,
	} {
		out := c.must("get", "--raw", "/api/v1/nodes/edge/proxy/"+path)
		if !strings.Contains(strings.ReplaceAll(out, `":"`, `": "`), strings.ReplaceAll(want, `":"`, `": "`)) {
			t.Errorf("/%s of the node has no %s: %.300s", path, want, out)
		}
	}
	if out := c.must("get", "--raw", "/api/v1/nodes/edge/proxy/healthz"); out != "ok" {
		t.Errorf("the API server reads /healthz of the node as %q", out)
	}
}

func (c *controlPlane) testDeployment() {
	t := c.t
	c.create(deployment("web", 50, "tick"))
	c.must("rollout", "status", "deployment/web", "--timeout=110s")
	name := c.apiPods("app=web")[0].Name
	c.await("kubectl logs", func() error {
		out, err := c.kubectl("logs", name, "--tail=1")
		if err == nil && !strings.HasPrefix(out, "tick ") {
			err = errors.New("no tick")
		}
		return because(err, out)
	})
	c.await("kubectl describe to show our Events, which give way to statuses", func() error {
		out, err := c.kubectl("describe", "pod", name)
		if err == nil && !strings.Contains(out, "Container started") {
			err = errors.New("no Event that the container was started")
		}
		return because(err, out)
	})
	c.must("scale", "deployment/web", "--replicas=3")
	c.awaitPods("app=web", 3)
	c.create(deployment("web", 3, "idle", "updated"))
	c.must("rollout", "status", "deployment/web", "--timeout=110s")
	c.awaitPods("app=web", 3)
	for _, p := range c.apiPods("app=web") {
		if got := p.Spec.Containers[0].Args[0]; got != "idle" {
			t.Errorf("Pod %s still runs %s", p.Name, got)
		}
	}
	c.must("scale", "deployment/web", "--replicas=0")
	c.awaitPods("app=web", 0)
	c.must("delete", "deployment/web")
	if left := c.shims(); len(left) > 0 {
		t.Errorf("deleting the Deployment left %v", left)
	}
}

// awaitPods waits until a label has exactly so many Pods.
func (c *controlPlane) awaitPods(selector string, want int) {
	c.t.Helper()
	c.await(fmt.Sprintf("%d Pods with %s", want, selector), func() error {
		if got := len(c.apiPods(selector)); got != want {
			return fmt.Errorf("there are %d", got)
		}
		return nil
	})
}

func (c *controlPlane) testJobs() {
	t := c.t
	limit := int32(0)
	for name, code := range map[string]string{"good": "0", "bad": "42"} {
		c.create(batchv1.Job{
			TypeMeta: metav1.TypeMeta{APIVersion: "batch/v1", Kind: "Job"}, ObjectMeta: metav1.ObjectMeta{Name: name},
			Spec: batchv1.JobSpec{BackoffLimit: &limit, Template: template(name, corev1.RestartPolicyNever, "exit", code)},
		})
	}
	c.must("wait", "--for=condition=Complete", "job/good", "--timeout=60s")
	c.must("wait", "--for=condition=Failed", "job/bad", "--timeout=60s")
	pods := c.apiPods("app=bad")
	if len(pods) != 1 || !terminatedWith(42)(pods[0]) {
		t.Errorf("the failed Job's Pods: %+v, want one that ended with 42", pods)
	}
	c.must("delete", "job", "good", "bad")
	c.awaitPods("app in (good,bad)", 0)
}

func (c *controlPlane) testMirror() {
	p := pod("local", corev1.RestartPolicyAlways, "idle")
	p.Labels = map[string]string{"app": "local"}
	p.Spec.AutomountServiceAccountToken = new(bool)
	c.apply(p)
	c.await("the mirror to run", func() error {
		out, err := c.kubectl("get", "pod", "local-edge", "-o", "jsonpath={.status.phase} {.metadata.annotations.kubernetes\\.io/config\\.mirror}")
		if err == nil && !strings.HasPrefix(out, "Running ") {
			err = errors.New("not yet")
		}
		return because(err, out)
	})
	before := c.shims()
	c.must("delete", "pod", "local-edge", "--grace-period=0", "--force", "--wait=false")
	c.await("the mirror to be made again", func() error {
		out, err := c.kubectl("get", "pod", "local-edge", "-o", "jsonpath={.status.phase}")
		if err == nil && out != "Running" {
			err = errors.New("not yet")
		}
		return because(err, out)
	})
	for pid := range before {
		if _, alive := c.shims()[pid]; !alive {
			c.t.Errorf("deleting the mirror ended the static Pod")
		}
	}
	if err := os.Remove(c.manifest("local")); err != nil {
		c.t.Fatal(err)
	}
	c.awaitPods("app=local", 0)
}

func (c *controlPlane) testDaemonRestart() {
	t := c.t
	c.create(deployment("steady", 5, "tick"))
	c.must("rollout", "status", "deployment/steady", "--timeout=110s")
	before := c.shims()
	c.signal(syscall.SIGKILL)
	c.must("delete", "pod", c.apiPods("app=steady")[0].Name, "--grace-period=0", "--force", "--wait=false") // while nobody watches
	c.startOnly()
	c.must("rollout", "status", "deployment/steady", "--timeout=110s")
	c.awaitPods("app=steady", 5)
	c.await("the forgotten Pod to be ended", func() error {
		if n := len(c.shims()); n != 5 {
			return fmt.Errorf("%d shims run, want 5", n)
		}
		return nil
	})
	kept := 0
	for pid, dir := range c.shims() {
		if before[pid] == dir {
			kept++
		}
	}
	if kept != 4 {
		t.Errorf("%d of 5 containers were kept, want 4", kept)
	}
}

func (c *controlPlane) testPlaneRestart() {
	before := c.shims()
	c.devcluster("down", "--dir", c.dir)
	victim := 0
	for pid := range before {
		victim = pid
	}
	if err := syscall.Kill(victim, syscall.SIGKILL); err != nil {
		c.t.Fatal(err)
	}
	c.await("the container to be restarted without an API server", func() error {
		now := c.shims()
		if _, there := now[victim]; there || len(now) != len(before) {
			return fmt.Errorf("the shims are %v", now)
		}
		return nil
	})
	c.devcluster("up", "--dir", c.dir, "--netns", c.netns)
	c.await("the restart to be known", func() error {
		total := int32(0)
		for _, p := range c.apiPods("app=steady") {
			for _, s := range p.Status.ContainerStatuses {
				total += s.RestartCount
			}
		}
		if total != 1 {
			return fmt.Errorf("%d restarts are known, want 1", total)
		}
		return nil
	})
	c.must("delete", "deployment/steady")
	c.awaitPods("app=steady", 0)
}

// The demonstration of Krustlet's announcement, with its nodeSelector, tolerations and references, on our guest.
func (c *controlPlane) testKrustletDemo() {
	c.create(corev1.ConfigMap{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"}, ObjectMeta: metav1.ObjectMeta{Name: "hello-world-cm"},
		Data: map[string]string{"myval": "cool stuff", "bacon_ipsum.txt": "Bacon ipsum dolor amet\n"},
	})
	p := pod("hello-world-wasi", corev1.RestartPolicyAlways, "arg1", "arg2")
	p.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}
	p.Labels = map[string]string{"app": "krustlet"}
	p.Spec.Tolerations = []corev1.Toleration{
		{Key: "node.kubernetes.io/network-unavailable", Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoSchedule},
		{Key: "kubernetes.io/arch", Operator: corev1.TolerationOpEqual, Value: "wasm32-wasi", Effect: corev1.TaintEffectNoExecute},
		{Key: "kubernetes.io/arch", Operator: corev1.TolerationOpEqual, Value: "wasm32-wasi", Effect: corev1.TaintEffectNoSchedule},
	}
	p.Spec.NodeSelector = map[string]string{"kubernetes.io/arch": "wasm32-wasi"}
	p.Spec.Containers[0].Env = []corev1.EnvVar{
		{Name: "FOO", Value: "bar"},
		{Name: "POD_NAME", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.name"}}},
		{Name: "CONFIG_MAP_VAL", ValueFrom: &corev1.EnvVarSource{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{
			LocalObjectReference: corev1.LocalObjectReference{Name: "hello-world-cm"}, Key: "myval",
		}}},
	}
	p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "cm", MountPath: "/mnt/storage"}}
	p.Spec.Volumes = []corev1.Volume{{Name: "cm", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
		LocalObjectReference: corev1.LocalObjectReference{Name: "hello-world-cm"},
	}}}}
	c.create(p)
	c.must("wait", "--for=condition=Ready", "pod/hello-world-wasi", "--timeout=60s")
	c.await("the log", func() error {
		out, err := c.kubectl("logs", "hello-world-wasi")
		for _, want := range []string{
			"hello from stdout!\n", "hello from stderr!\n", "FOO=bar", "POD_NAME=hello-world-wasi", "CONFIG_MAP_VAL=cool stuff", "KUBERNETES_SERVICE_HOST=10.96.0.1",
			`Args are: ["arg1" "arg2"]`, "Bacon ipsum dolor amet", "token: ",
		} {
			if err == nil && !strings.Contains(out, want) {
				err = errors.New("no " + want)
			}
		}
		return because(err, out)
	})
	c.must("patch", "configmap", "hello-world-cm", "--type=merge", `-p={"data":{"bacon_ipsum.txt":"changed\n"}}`)
	c.await("the volume to show the changed ConfigMap", func() error {
		out, err := c.kubectl("logs", "hello-world-wasi", "--tail=5")
		if err == nil && !strings.Contains(out, "changed") {
			err = errors.New("not yet")
		}
		return because(err, out)
	})
	c.must("delete", "pod", "hello-world-wasi", "--grace-period=1")
	c.awaitPods("app=krustlet", 0)
}
