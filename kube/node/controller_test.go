package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/client-go/tools/record"
)

// cluster is a fake API server that gives UIDs and counts requests.
type cluster struct {
	*fake.Clientset
	t             *testing.T
	uids, version int
	drop          func(*corev1.Node)
}

func newCluster(t *testing.T, objects ...runtime.Object) *cluster {
	c := &cluster{Clientset: fake.NewClientset(objects...), t: t, version: 100}
	c.PrependReactor("create", "nodes", c.write)
	c.PrependReactor("update", "nodes", c.write)
	c.PrependReactor("patch", "nodes", c.write)
	return c
}

// write does what the fake leaves out: it gives UIDs and resource versions, and drops what drop drops.
func (c *cluster) write(a clienttesting.Action) (bool, runtime.Object, error) {
	_, object, err := clienttesting.ObjectReaction(c.Tracker())(a)
	if err != nil {
		return true, nil, err
	}
	n := object.(*corev1.Node).DeepCopy()
	if n.UID == "" {
		c.uids++
		n.UID = types.UID(fmt.Sprintf("uid-%d", c.uids))
	}
	c.version++
	n.ResourceVersion = strconv.Itoa(c.version)
	if c.drop != nil {
		c.drop(n)
	}
	return true, n, c.Tracker().Update(corev1.SchemeGroupVersion.WithResource("nodes"), n, "")
}

// clientset avoids an interface that holds a nil pointer.
func (c *cluster) clientset() kubernetes.Interface {
	if c == nil {
		return nil
	}
	return c
}

func (c *cluster) count(verb, resource string) int {
	n := 0
	for _, a := range c.Actions() {
		if a.Matches(verb, resource) {
			n++
		}
	}
	return n
}

func (c *cluster) node() *corev1.Node {
	c.t.Helper()
	n, err := c.Tracker().Get(corev1.SchemeGroupVersion.WithResource("nodes"), "", "edge")
	if err != nil {
		c.t.Fatal(err)
	}
	return n.(*corev1.Node)
}

// deny makes requests fail while it answers an error.
func (c *cluster) deny(verb, resource string, why func() error) {
	c.PrependReactor(verb, resource, func(clienttesting.Action) (bool, runtime.Object, error) {
		err := why()
		return err != nil, nil, err
	})
}

func testMachine() Machine {
	return Machine{
		MachineID: "m1", SystemUUID: "s1", BootID: "b1", KernelVersion: "6.12.0", OSImage: "Debian GNU/Linux 12", CPUs: 4,
		MemoryBytes: 8 << 30, DiskBytes: 100 << 30,
	}
}

func testConfig(client *cluster) Config {
	return Config{
		NodeName: "edge", HostArch: "amd64", Version: "0.2.0", KubeletVersion: "v1.36.3", Port: 10250, MaxPods: 250,
		Client: client.clientset(),
		Addresses: func() ([]corev1.NodeAddress, error) {
			return []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "192.0.2.7"}}, nil
		},
		Machine: func() (Machine, error) { return testMachine(), nil },
		Random:  func() float64 { return 0.5 },
	}
}

// start runs a controller in a synctest bubble; it ends with the test's body.
func start(t *testing.T, config Config) (c *Controller, stop func()) {
	t.Helper()
	c, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.Run(ctx)
	}()
	return c, func() {
		cancel()
		<-done
		synctest.Wait()
	}
}

// pass lets time pass.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func drain(r *record.FakeRecorder) []string {
	var out []string
	for {
		select {
		case e := <-r.Events:
			out = append(out, e)
		default:
			return out
		}
	}
}

func TestReadySoonAfterItCan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newCluster(t)
		var starting atomic.Pointer[error]
		reason := errors.New("the image store is not open")
		starting.Store(&reason)
		config := testConfig(api)
		recorder := record.NewFakeRecorder(100)
		config.Recorder = recorder
		config.Ready = func() error { return *starting.Load() }
		_, stop := start(t, config)
		defer stop()

		pass(3050 * time.Millisecond)
		_, ready := condition(api.node(), corev1.NodeReady)
		if ready.Status != corev1.ConditionFalse || ready.Message != reason.Error() {
			t.Errorf("before: %v %q, want False and the reason", ready.Status, ready.Message)
		}
		if n := api.count("patch", "nodes"); n != 0 {
			t.Errorf("%d patches before anything changed", n)
		}
		var none error
		starting.Store(&none)
		pass(fastInterval)
		_, ready = condition(api.node(), corev1.NodeReady)
		if ready.Status != corev1.ConditionTrue || ready.Reason != "KubeletReady" {
			t.Errorf("100 ms after: %v %s, want True KubeletReady", ready.Status, ready.Reason)
		}
		if n := api.count("patch", "nodes"); n != 1 {
			t.Errorf("%d patches, want 1", n)
		}
		want := []string{
			"Normal Starting Starting kubelet.",
			"Normal NodeHasSufficientMemory Node edge status is now: NodeHasSufficientMemory",
			"Normal NodeHasNoDiskPressure Node edge status is now: NodeHasNoDiskPressure",
			"Normal NodeHasSufficientPID Node edge status is now: NodeHasSufficientPID",
			"Normal NodeReady Node edge status is now: NodeReady",
		}
		if diff := cmp.Diff(want, drain(recorder)); diff != "" {
			t.Error("events:", diff)
		}
	})
}

// A node that ends says so before it is gone, however long the API server takes, and waits for nothing when it was never known.
func TestAwaitUnready(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var problem atomic.Pointer[error]
		var away atomic.Bool
		client := newCluster(t)
		client.deny("patch", "nodes", func() error {
			if away.Load() {
				return errors.New("connection refused")
			}
			return nil
		})
		config := testConfig(client)
		config.Ready = func() error {
			if e := problem.Load(); e != nil {
				return *e
			}
			return nil
		}
		c, err := New(config)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.AwaitUnready(t.Context()); err != nil {
			t.Errorf("before it is registered: %v", err)
		}
		c, stop := start(t, config)
		defer stop()
		pass(time.Second)
		if !isReady(client.node()) {
			t.Fatal("the node is not ready")
		}
		shutdown := errors.New("node is shutting down")
		problem.Store(&shutdown)
		away.Store(true)
		brief, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if err := c.AwaitUnready(brief); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("while the API server is away: %v", err)
		}
		ended := make(chan error, 1)
		go func() { ended <- c.AwaitUnready(t.Context()) }()
		away.Store(false)
		if err := <-ended; err != nil || isReady(client.node()) {
			t.Errorf("%v; ready %v", err, isReady(client.node()))
		}
	})
}

func TestWritesOnlyNews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newCluster(t)
		config := testConfig(api)
		var images atomic.Int64
		config.Images = func() []corev1.ContainerImage {
			return make([]corev1.ContainerImage, images.Load())
		}
		c, stop := start(t, config)
		defer stop()

		pass(4*time.Minute + 55*time.Second)
		if n := api.count("patch", "nodes"); n != 0 {
			t.Errorf("%d patches without news, want 0", n)
		}
		pass(10 * time.Second)
		if n := api.count("patch", "nodes"); n != 1 {
			t.Errorf("%d patches after five minutes, want 1", n)
		}
		pass(5 * time.Minute)
		if n := api.count("patch", "nodes"); n != 2 {
			t.Errorf("%d patches after ten minutes, want 2", n)
		}
		images.Store(1)
		c.Nudge()
		synctest.Wait()
		if n := api.count("patch", "nodes"); n != 3 {
			t.Errorf("%d patches after news and a nudge, want 3", n)
		}
		if n := api.count("get", "nodes"); n != 0 {
			t.Errorf("%d GETs, want none: there is a cache", n)
		}
	})
}

func TestJitterAfterAChange(t *testing.T) {
	for name, tt := range map[string]struct {
		random    float64
		not, then time.Duration
	}{
		"early": {0, 2*time.Minute + 20*time.Second, 2*time.Minute + 45*time.Second},
		"late":  {0.999, 7*time.Minute + 10*time.Second, 7*time.Minute + 45*time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				api := newCluster(t)
				config := testConfig(api)
				config.Random = func() float64 { return tt.random }
				_, stop := start(t, config)
				defer stop()
				pass(tt.not)
				if n := api.count("patch", "nodes"); n != 0 {
					t.Errorf("%d patches at %v", n, tt.not)
				}
				pass(tt.then - tt.not)
				if n := api.count("patch", "nodes"); n != 1 {
					t.Errorf("%d patches at %v, want 1", n, tt.then)
				}
			})
		})
	}
}

func TestDeletedNodeAndLeaseComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newCluster(t)
		_, stop := start(t, testConfig(api))
		defer stop()
		ctx := t.Context()
		leases := api.CoordinationV1().Leases(corev1.NamespaceNodeLease)
		pass(15 * time.Second)
		l, err := leases.Get(ctx, "edge", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		want := []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: "edge", UID: "uid-1"}}
		if diff := cmp.Diff(want, l.OwnerReferences); diff != "" {
			t.Error("owner:", diff)
		}
		if *l.Spec.LeaseDurationSeconds != 40 || *l.Spec.HolderIdentity != "edge" || time.Since(l.Spec.RenewTime.Time) > 11*time.Second {
			t.Errorf("lease spec %+v", l.Spec)
		}

		if err := leases.Delete(ctx, "edge", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		pass(21 * time.Second)
		if _, err := leases.Get(ctx, "edge", metav1.GetOptions{}); err != nil {
			t.Error("the lease did not come back:", err)
		}

		if err := api.CoreV1().Nodes().Delete(ctx, "edge", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if n := api.node(); n.UID != "uid-2" || len(n.Spec.Taints) != 2 {
			t.Errorf("after deletion: uid %s, %d taints, want uid-2, 2", n.UID, len(n.Spec.Taints))
		}
		pass(21 * time.Second)
		l, err = leases.Get(ctx, "edge", metav1.GetOptions{})
		if err != nil || len(l.OwnerReferences) != 1 || l.OwnerReferences[0].UID != "uid-2" {
			t.Errorf("lease of the new node: %v %+v", err, l.OwnerReferences)
		}
	})
}

func TestFailedPatchIsTriedAgainLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newCluster(t)
		failures := 0
		api.deny("patch", "nodes", func() error {
			if failures++; failures <= 3 {
				return apierrors.NewConflict(schema.GroupResource{Resource: "nodes"}, "edge", errors.New("changed"))
			}
			return nil
		})
		config := testConfig(api)
		var closed int
		config.OnHeartbeatFailure = func() { closed++ }
		var pressed atomic.Bool
		config.Pressure = func() (Pressure, error) { return Pressure{Memory: pressed.Load()}, nil }
		recorder := record.NewFakeRecorder(100)
		config.Recorder = recorder
		c, stop := start(t, config)
		defer stop()
		pass(time.Second)
		drain(recorder)
		pressed.Store(true)
		c.Nudge()
		synctest.Wait()
		if _, memory := condition(api.node(), corev1.NodeMemoryPressure); memory.Status != corev1.ConditionTrue {
			t.Errorf("MemoryPressure is %s", memory.Status)
		}
		if got := api.count("get", "nodes"); got != 3 {
			t.Errorf("%d live GETs, want 3", got)
		}
		if closed != 2 {
			t.Errorf("connections were closed %d times, want 2: after the second failure on", closed)
		}
		want := []string{"Normal NodeHasInsufficientMemory Node edge status is now: NodeHasInsufficientMemory"}
		if diff := cmp.Diff(want, drain(recorder)); diff != "" {
			t.Error("events must tell of a change once:", diff)
		}
	})
}

func TestFieldsThatTheServerDropsAreWrittenOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newCluster(t)
		api.drop = func(n *corev1.Node) { n.Status.DeclaredFeatures = nil }
		config := testConfig(api)
		config.DeclaredFeatures = []string{"SomethingNew"}
		_, stop := start(t, config)
		defer stop()
		pass(4 * time.Minute)
		if n := api.count("patch", "nodes"); n != 1 {
			t.Errorf("%d patches, want 1", n)
		}
	})
}

func TestTellsOfCordonAndPodCIDR(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newCluster(t)
		config := testConfig(api)
		recorder := record.NewFakeRecorder(100)
		config.Recorder = recorder
		var told [][]string
		config.OnPodCIDRs = func(c []string) { told = append(told, c) }
		c, stop := start(t, config)
		defer stop()
		pass(time.Second)
		drain(recorder)
		for _, unschedulable := range []bool{true, true, false} {
			n := api.node().DeepCopy()
			n.Spec.PodCIDRs = []string{"10.244.3.0/24"}
			n.Spec.Unschedulable = unschedulable
			if _, err := api.CoreV1().Nodes().Update(t.Context(), n, metav1.UpdateOptions{}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		if diff := cmp.Diff([][]string{{"10.244.3.0/24"}}, told); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([]string{"10.244.3.0/24"}, c.PodCIDRs()); diff != "" {
			t.Error(diff)
		}
		want := []string{
			"Normal NodeNotSchedulable Node edge status is now: NodeNotSchedulable",
			"Normal NodeSchedulable Node edge status is now: NodeSchedulable",
		}
		if diff := cmp.Diff(want, drain(recorder)); diff != "" {
			t.Error(diff)
		}
		if got := c.Node().Spec.PodCIDRs; !slices.Equal(got, []string{"10.244.3.0/24"}) {
			t.Error("Node() has pod CIDRs", got)
		}
	})
}

// Without Run nothing is watched: what is seen was read by Refresh.
func TestRefresh(t *testing.T) {
	api := newCluster(t)
	c, err := New(testConfig(api))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Refresh(t.Context()); !apierrors.IsNotFound(err) {
		t.Errorf("Refresh of a node that is not there: %v", err)
	}
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "edge"}, Spec: corev1.NodeSpec{PodCIDRs: []string{"10.244.3.0/24"}}}
	if _, err := api.CoreV1().Nodes().Create(t.Context(), n, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := c.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := c.PodCIDRs(); c.Node() == nil || !slices.Equal(got, n.Spec.PodCIDRs) {
		t.Errorf("Node() = %v, PodCIDRs() = %v after Refresh", c.Node(), got)
	}
	written := c.Node().DeepCopy()
	written.ResourceVersion, written.Labels = "900", map[string]string{"written": "since"}
	c.keep(written)
	if err := c.Refresh(t.Context()); err != nil || c.Node().Labels["written"] != "since" {
		t.Errorf("Refresh took an older Node over a newer one: %v, %v", c.Node().ObjectMeta, err)
	}
}

func TestAddressesForCertificates(t *testing.T) {
	c, err := New(testConfig(newCluster(t)))
	if err != nil {
		t.Fatal(err)
	}
	want := []corev1.NodeAddress{{Type: "InternalIP", Address: "192.0.2.7"}, {Type: "Hostname", Address: "edge"}}
	if diff := cmp.Diff(want, c.Addresses()); diff != "" {
		t.Error("before registration:", diff)
	}
}

func TestConfigIsChecked(t *testing.T) {
	config := Config{
		Labels: map[string]string{"kubernetes.io/cluster": "x"}, Taints: []corev1.Taint{{Key: "a", Effect: "Never"}},
		Reserved: corev1.ResourceList{"gpu": quantity("1")},
	}
	_, err := New(config)
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		"Client: required", "NodeName: required", "Version: required", "KubeletVersion: required", "MaxPods: required",
		"Addresses: required", "Machine: required", "nodeLabels", "registerWithTaints[0].effect", `reserved: Unsupported value: "gpu"`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in: %v", want, err)
		}
	}
}
