//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log" //nolint:depguard // what the registry wants
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
	"golang.org/x/sys/unix"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// What controllers, administrators and drains make of a node, seen by kubectl.
func TestAdmission(t *testing.T) {
	t.Parallel()
	c := newControlPlane(t, "")
	t.Run("side by side", func(t *testing.T) {
		for _, s := range []scene{
			{"Pods that do not fit are refused", (*controlPlane).testRefusals},
			{"a DaemonSet that tolerates everything is refused once", (*controlPlane).testForeignDaemonSet},
			{"a DaemonSet of wasm", (*controlPlane).testDaemonSet},
			{"a StatefulSet makes the same name again", (*controlPlane).testStatefulSet},
			{"eviction and deletion", (*controlPlane).testEndings},
			{"a phase that somebody writes ends the Pod", (*controlPlane).testWrittenPhase},
			{"Jobs with policies", (*controlPlane).testJobPolicies},
			{"a CronJob", (*controlPlane).testCronJob},
			{"imagePullSecrets", (*controlPlane).testPullSecrets},
		} {
			t.Run(s.name, func(t *testing.T) {
				t.Parallel()
				sub, n := *c, *c.node
				n.t, sub.node = t, &n
				s.test(&sub)
			})
		}
	})
	c.run([]scene{
		{"kubectl drain heeds a PodDisruptionBudget", (*controlPlane).testDrain},
		{"a node that shuts down says so", (*controlPlane).testShutdown},
	})
}

// placed is a Pod that its author puts on the node, past the scheduler.
func placed(name string, args ...string) corev1.Pod {
	t := template(name, corev1.RestartPolicyAlways, args...)
	p := corev1.Pod{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}, ObjectMeta: metav1.ObjectMeta{Name: name, Labels: t.Labels}, Spec: t.Spec,
	}
	p.Spec.NodeName = "edge"
	return p
}

func meta(apiVersion, kind string) metav1.TypeMeta {
	return metav1.TypeMeta{APIVersion: apiVersion, Kind: kind}
}

// waitFor is kubectl wait for a value.
func (c *controlPlane) waitFor(object, path, value string) {
	c.t.Helper()
	c.must("wait", object, "--for=jsonpath={"+path+"}="+value, "--timeout=110s")
}

func (c *controlPlane) read(object, path string) string {
	c.t.Helper()
	return c.must("get", object, "-o", "jsonpath={"+path+"}")
}

func (c *controlPlane) testRefusals() {
	big, elsewhere, tainted := placed("big", "idle"), placed("elsewhere", "idle"), placed("tainted", "idle")
	big.Spec.Containers[0].Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("9999")}
	elsewhere.Spec.NodeSelector = map[string]string{"disk": "ssd"}
	tainted.Spec.Tolerations = nil
	c.create(big, elsewhere)
	c.waitFor("pod/big", ".status.reason", "OutOfcpu")
	if got := c.read("pod/big", ".status.phase}: {.status.message"); !strings.HasPrefix(got,
		"Failed: Pod was rejected: Node didn't have enough resource: cpu, requested: 9999000, used: ") {
		c.t.Errorf("the Pod that is too big: %s", got)
	}
	c.waitFor("pod/elsewhere", ".status.reason", "NodeAffinity")
	c.must("delete", "pod", "big", "elsewhere", "--wait=true", "--timeout=60s")
	c.create(tainted) // which the taint manager deletes, sooner or later
	c.await("the Event of the tainted Pod", func() error {
		out, err := c.kubectl("get", "events", "--field-selector", "involvedObject.name=tainted,reason=TaintToleration", "-o", "jsonpath={.items[*].message}")
		if err == nil && out != "Predicate TaintToleration failed: node(s) had taints that the pod didn't tolerate" {
			err = errors.New("not yet")
		}
		return because(err, out)
	})
	c.must("delete", "pod", "tainted", "--ignore-not-found", "--wait=true", "--timeout=60s")
}

func daemonSet(name, image string, tolerations []corev1.Toleration, selector map[string]string) appsv1.DaemonSet {
	t := template(name, corev1.RestartPolicyAlways, "idle")
	t.Spec.Tolerations, t.Spec.NodeSelector = tolerations, selector
	t.Spec.Containers[0].Image = image
	return appsv1.DaemonSet{
		TypeMeta: meta("apps/v1", "DaemonSet"), ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: appsv1.DaemonSetSpec{Selector: &metav1.LabelSelector{MatchLabels: t.Labels}, Template: t},
	}
}

// The image of kube-proxy could not even be pulled here: that nobody tries is the point.
func (c *controlPlane) testForeignDaemonSet() {
	c.create(daemonSet("proxy", "registry.invalid/kube-proxy:v1", []corev1.Toleration{{Operator: corev1.TolerationOpExists}},
		map[string]string{"kubernetes.io/os": "linux"}))
	c.await("the refusal", func() error {
		pods := c.apiPods("app=proxy")
		if !slices.ContainsFunc(pods, func(p corev1.Pod) bool { return failed(p) && p.Status.Reason == "NotForWasm" }) {
			return fmt.Errorf("%d Pods", len(pods))
		}
		return nil
	})
	for _, p := range c.apiPods("app=proxy") {
		if failed(p) && (!strings.Contains(p.Status.Message, `DaemonSet "proxy"`) || len(p.Status.ContainerStatuses) > 0) {
			c.t.Errorf("status: %+v", p.Status)
		}
	}
	if out := c.must("get", "events", "-o", "jsonpath={.items[?(@.reason==\"Pulling\")].message}"); strings.Contains(out, "registry.invalid") {
		c.t.Errorf("its image was pulled: %s", out)
	}
	c.must("delete", "daemonset", "proxy", "--timeout=60s")
	c.awaitPods("app=proxy", 0)
}

func (c *controlPlane) testDaemonSet() {
	c.create(daemonSet("agent", guestImage, []corev1.Toleration{{Operator: corev1.TolerationOpExists}},
		map[string]string{"kubernetes.io/arch": "wasm32-wasi"}))
	c.must("rollout", "status", "daemonset/agent", "--timeout=110s")
	c.must("delete", "daemonset", "agent", "--timeout=60s")
	c.awaitPods("app=agent", 0)
}

func (c *controlPlane) testStatefulSet() {
	one := int32(1)
	t := template("db", corev1.RestartPolicyAlways, "idle")
	c.create(appsv1.StatefulSet{
		TypeMeta: meta("apps/v1", "StatefulSet"), ObjectMeta: metav1.ObjectMeta{Name: "db"},
		Spec: appsv1.StatefulSetSpec{Replicas: &one, ServiceName: "db", Selector: &metav1.LabelSelector{MatchLabels: t.Labels}, Template: t},
	})
	c.must("rollout", "status", "statefulset/db", "--timeout=110s")
	before := c.read("pod/db-0", ".metadata.uid")
	c.must("delete", "pod", "db-0", "--grace-period=1", "--timeout=60s")
	c.await("the Pod of the same name", func() error {
		out, err := c.kubectl("get", "pod", "db-0", "-o", "jsonpath={.metadata.uid} {.status.phase}")
		if err == nil && (strings.HasPrefix(out, before) || !strings.HasSuffix(out, " Running")) {
			err = errors.New("not yet")
		}
		return because(err, out)
	})
	c.must("delete", "statefulset", "db", "--timeout=60s")
	c.awaitPods("app=db", 0)
}

func (c *controlPlane) testEndings() {
	for _, name := range []string{"evicted", "deleted", "forced"} {
		c.create(placed(name, "idle"))
	}
	c.must("wait", "--for=condition=Ready", "pod/evicted", "pod/deleted", "pod/forced", "--timeout=110s")
	eviction, err := json.Marshal(policyv1.Eviction{
		TypeMeta: meta("policy/v1", "Eviction"), ObjectMeta: metav1.ObjectMeta{Name: "evicted", Namespace: "default"},
	})
	if err != nil {
		c.t.Fatal(err)
	}
	if out, err := c.kubectlWith(eviction, "create", "--raw", "/api/v1/namespaces/default/pods/evicted/eviction", "-f", "-"); err != nil {
		c.t.Errorf("evict: %v\n%s", err, out)
	}
	c.must("delete", "pod", "deleted", "--timeout=60s")
	c.must("delete", "pod", "forced", "--grace-period=0", "--force")
	c.awaitPods("app in (evicted,deleted,forced)", 0)
}

// testWrittenPhase is what a controller does that gives a Pod up.
func (c *controlPlane) testWrittenPhase() {
	c.create(placed("given-up", "idle"))
	c.must("wait", "--for=condition=Ready", "pod/given-up", "--timeout=110s")
	c.must("patch", "pod", "given-up", "--subresource=status", "--type=merge", `-p={"status":{"phase":"Failed","reason":"Lost"}}`)
	c.waitFor("pod/given-up", ".status.containerStatuses[0].state.terminated.exitCode", "143")
	if got := c.read("pod/given-up", ".status.phase} {.status.reason"); got != "Failed Lost" {
		c.t.Errorf("the Pod is %s", got)
	}
	c.must("delete", "pod", "given-up", "--timeout=60s")
}

func (c *controlPlane) testJobPolicies() {
	job := func(name string, limit int32, code string) batchv1.Job {
		return batchv1.Job{
			TypeMeta: meta("batch/v1", "Job"), ObjectMeta: metav1.ObjectMeta{Name: name},
			Spec: batchv1.JobSpec{BackoffLimit: &limit, Template: template(name, corev1.RestartPolicyNever, "exit", code)},
		}
	}
	hopeless := job("hopeless", 6, "42")
	hopeless.Spec.PodFailurePolicy = &batchv1.PodFailurePolicy{Rules: []batchv1.PodFailurePolicyRule{{
		Action:      batchv1.PodFailurePolicyActionFailJob,
		OnExitCodes: &batchv1.PodFailurePolicyOnExitCodesRequirement{Operator: batchv1.PodFailurePolicyOnExitCodesOpIn, Values: []int32{42}},
	}}}
	c.create(hopeless, job("stubborn", 1, "3"))
	c.must("wait", "--for=condition=Failed", "job/hopeless", "job/stubborn", "--timeout=110s")
	for name, want := range map[string]int{"hopeless": 1, "stubborn": 2} {
		if got := len(c.apiPods("app=" + name)); got != want {
			c.t.Errorf("job %s made %d Pods, want %d", name, got, want)
		}
	}
	c.must("delete", "job", "hopeless", "stubborn")
	c.awaitPods("app in (hopeless,stubborn)", 0)
}

func (c *controlPlane) testCronJob() {
	c.create(batchv1.CronJob{
		TypeMeta: meta("batch/v1", "CronJob"), ObjectMeta: metav1.ObjectMeta{Name: "nightly"},
		Spec: batchv1.CronJobSpec{Schedule: "* * * * *", JobTemplate: batchv1.JobTemplateSpec{
			Spec: batchv1.JobSpec{Template: template("nightly", corev1.RestartPolicyNever, "exit", "0")},
		}},
	})
	c.await("its first run to succeed", func() error {
		if !slices.ContainsFunc(c.apiPods("app=nightly"), func(p corev1.Pod) bool { return p.Status.Phase == corev1.PodSucceeded }) {
			return errors.New("not yet")
		}
		return nil
	})
	c.must("delete", "cronjob", "nightly")
	c.awaitPods("app=nightly", 0)
}

// listenInside listens on a loopback port of the node's network namespace.
func (c *controlPlane) listenInside() net.Listener {
	c.t.Helper()
	type result struct {
		listener net.Listener
		err      error
	}
	done := make(chan result)
	go func() {
		runtime.LockOSThread() // and never unlock it: the thread ends with this goroutine
		ns, err := os.Open(filepath.Join("/var/run/netns", c.netns))
		if err == nil {
			err = unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET)
			_ = ns.Close()
		}
		var l net.Listener
		if err == nil {
			l, err = (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
		}
		done <- result{l, err}
	}()
	r := <-done
	if r.err != nil {
		c.t.Fatalf("listen inside %s: %v", c.netns, r.err)
	}
	return r.listener
}

func (c *controlPlane) testPullSecrets() {
	l := c.listenInside()
	reg := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "me" || password != "hunter2" {
			w.Header().Set("WWW-Authenticate", `Basic realm="registry"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		reg.ServeHTTP(w, r)
	})}
	go func() { _ = server.Serve(l) }()
	defer func() { _ = server.Close() }()
	ref, config := l.Addr().String()+"/private/guest:v1", filepath.Join(c.t.TempDir(), "config.json")
	write(c.t, config, fmt.Sprintf(`{"auths":{%q:{"username":"me","password":"hunter2"}}}`, l.Addr()))
	push := slices.Concat(c.inside, []string{filepath.Join(bin, "wazlet"), "push", "--docker-config", config, guestFile, ref})
	if out, err := exec.CommandContext(c.t.Context(), push[0], push[1:]...).CombinedOutput(); err != nil {
		c.t.Fatalf("push: %v\n%s", err, out)
	}

	private := placed("private", "idle")
	private.Spec.Containers[0].Image = ref
	private.Spec.ImagePullSecrets = []corev1.LocalObjectReference{{Name: "regcred"}}
	c.create(private)
	c.await("the missing secret to be told of", func() error {
		out, err := c.kubectl("get", "events", "--field-selector", "involvedObject.name=private,reason=FailedToRetrieveImagePullSecret", "-o", "jsonpath={.items[*].message}")
		if err == nil && !strings.Contains(out, "Unable to retrieve some image pull secrets (regcred)") {
			err = errors.New("not yet")
		}
		return because(err, out)
	})
	c.must("create", "secret", "docker-registry", "regcred", "--docker-server="+l.Addr().String(), "--docker-username=me", "--docker-password=hunter2")
	c.must("wait", "--for=condition=Ready", "pod/private", "--timeout=110s")

	// The image is on the node now, and still none of the next one's business.
	thief := placed("thief", "idle")
	thief.Spec.Containers[0].Image = ref
	c.create(thief)
	c.await("the Pod without a secret to be denied", func() error {
		out, err := c.kubectl("get", "pod", "thief", "-o", "jsonpath={.status.containerStatuses[0].state.waiting}")
		if err == nil && (!strings.Contains(out, "ImagePullBackOff") || !strings.Contains(out, "unauthorized")) {
			err = errors.New("not yet")
		}
		return because(err, out)
	})
	logged, err := os.ReadFile(filepath.Join(c.root, "daemon.log"))
	if err != nil {
		c.t.Fatal(err)
	}
	if strings.Contains(string(logged), "hunter2") {
		c.t.Error("the password is in the daemon's log")
	}
	c.must("delete", "pod", "private", "thief", "--timeout=60s")
}

func (c *controlPlane) testDrain() {
	c.create(deployment("guarded", 2, "idle"))
	c.must("rollout", "status", "deployment/guarded", "--timeout=110s")
	all := intstr.FromInt32(2)
	c.create(policyv1.PodDisruptionBudget{
		TypeMeta: meta("policy/v1", "PodDisruptionBudget"), ObjectMeta: metav1.ObjectMeta{Name: "guarded"},
		Spec: policyv1.PodDisruptionBudgetSpec{MinAvailable: &all, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "guarded"}}},
	})
	c.waitFor("pdb/guarded", ".status.currentHealthy", "2")
	if out, err := c.kubectl("drain", "edge", "--pod-selector=app=guarded", "--timeout=3s"); err == nil || !strings.Contains(out, "disruption budget") {
		c.t.Errorf("drain against the budget: %v\n%s", err, out)
	}
	for _, p := range c.apiPods("app=guarded") {
		if p.Status.Phase != corev1.PodRunning {
			c.t.Errorf("Pod %s is %s in spite of its budget", p.Name, p.Status.Phase)
		}
	}
	c.must("delete", "pdb", "guarded")
	c.must("drain", "edge", "--pod-selector=app=guarded", "--timeout=60s")
	c.must("delete", "deployment", "guarded", "--timeout=60s")
	c.must("uncordon", "edge")
	c.awaitPods("app=guarded", 0)
}

// testShutdown ends the daemon as an administrator does who wants the Pods gone.
func (c *controlPlane) testShutdown() {
	c.create(placed("last", "idle"))
	c.must("wait", "--for=condition=Ready", "pod/last", "--timeout=110s")
	c.signal(syscall.SIGINT)
	if got := c.read("pod/last", ".status.phase} {.status.reason}: {.status.message"); got !=
		"Failed Terminated: Pod was terminated in response to imminent node shutdown." {
		c.t.Errorf("the Pod is %s", got)
	}
	if got := c.read("pod/last", `.status.conditions[?(@.type=="DisruptionTarget")].reason`); got != "TerminationByKubelet" {
		c.t.Errorf("its DisruptionTarget has the reason %q", got)
	}
	if left := c.shims(); len(left) > 0 {
		c.t.Errorf("the shutdown left %v", left)
	}
}
