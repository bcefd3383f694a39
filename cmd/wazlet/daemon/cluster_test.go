package daemon

import (
	"context"
	"io"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/wazlet/wazlet/actors"
	"github.com/wazlet/wazlet/cmd/wazlet/config"
	"github.com/wazlet/wazlet/kube/node"
	"github.com/wazlet/wazlet/kube/objects"
	"github.com/wazlet/wazlet/kube/source"
	"github.com/wazlet/wazlet/kube/status"
	"github.com/wazlet/wazlet/moduleactor/bundle"
	"github.com/wazlet/wazlet/nodeactor"
	"github.com/wazlet/wazlet/podactor"
)

// What ends with the node is to be replaced on another one, so the scheduler must know before the Pods end.
func TestNodeThatDrainsIsNotReady(t *testing.T) {
	cfg := config.Default()
	d := &daemon{log: newLogger(cfg.Logging, io.Discard), network: &network{}, system: actors.New(actors.Options{})}
	d.current.Store(&cfg)
	d.node = d.system.Root().ActorSystem().NewLocalPID("nobody")
	if err := d.runtimeReady(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := d.drain(ctx); err == nil {
		t.Error("a drain that nobody carries out ended well")
	}
	if err := d.runtimeReady(); err == nil || err.Error() != "node is shutting down" {
		t.Errorf("ready: %v", err)
	}
}

// A node without Pods is drained at once, and is not ready in the API before it ends.
func TestDrainOfAnEmptyNode(t *testing.T) {
	cfg := config.Default()
	d := &daemon{log: newLogger(cfg.Logging, io.Discard), network: &network{}, system: actors.New(actors.Options{}), cluster: testCluster(t)}
	d.current.Store(&cfg)
	d.cluster.d = d
	var err error
	d.node, err = nodeactor.Spawn(d.system, nodeactor.Config{
		RootDir: t.TempDir(), NodeName: "n", MaxPods: 1, Supervision: cfg.Supervision,
	}, nodeactor.Deps{
		Guests: noGuests{}, Pod: func(podactor.Start) (*actor.Props, *actors.Handle) { panic("there is no Pod") },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		d.cluster.node.Run(ctx)
	}()
	<-d.cluster.node.Registered()
	d.tell(nodeactor.Resync{})
	if err := d.drain(ctx); err != nil {
		t.Fatal(err)
	}
	written, err := d.cluster.api.CoreV1().Nodes().Get(ctx, "n", metav1.GetOptions{})
	cancel()
	<-ended
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range written.Status.Conditions {
		if c.Type == corev1.NodeReady && c.Status != corev1.ConditionFalse {
			t.Errorf("the drained node is %+v", c)
		}
	}
	if err := d.system.StopTree(t.Context(), d.node); err != nil {
		t.Error(err)
	}
}

// noGuests is a runtime without any.
type noGuests struct{}

func (noGuests) Scan(string) ([]bundle.Found, error) { return nil, nil }

func (noGuests) Adopt(context.Context, bundle.ID) (*bundle.Process, error) {
	return nil, bundle.ErrNotRunning
}

// testCluster has a client that nobody answers with more than existing objects.
func testCluster(t *testing.T) *cluster {
	t.Helper()
	client := fake.NewClientset()
	c := &cluster{api: client, merge: source.NewMerge(source.MergeOptions{})}
	var err error
	if c.objects, err = objects.New(objects.Options{Client: client}); err != nil {
		t.Fatal(err)
	}
	if c.pods, err = source.NewPods(source.PodsOptions{Client: client, NodeName: "n"}); err != nil {
		t.Fatal(err)
	}
	c.status, err = status.New(status.Config{
		Client: client, NodeName: "n", Pods: c.pods, Node: func() (*corev1.Node, error) { return c.node.Node(), nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // ends its queue
		ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
		cancel()
		c.status.Run(ctx)
	})
	c.node, err = node.New(node.Config{
		Client: client, NodeName: "n", Version: "v", KubeletVersion: KubernetesVersion, Port: 10250, MaxPods: 1,
		Ready: func() error {
			if c.d == nil {
				return nil
			}
			return c.d.runtimeReady()
		},
		Addresses: func() ([]corev1.NodeAddress, error) {
			return []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "192.0.2.7"}}, nil
		},
		Machine: func() (node.Machine, error) { return node.Machine{}, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func podWithSecret(uid string, phase corev1.PodPhase) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "pod-" + uid, UID: types.UID(uid), CreationTimestamp: metav1.NewTime(time.Unix(1, 0))},
		Spec:       corev1.PodSpec{ImagePullSecrets: []corev1.LocalObjectReference{{Name: "secret-of-" + uid}}},
		Status:     corev1.PodStatus{Phase: phase},
	}
}

// Nobody follows what a Pod refers to that has ended: neither one whose end the node has seen, nor one of which it knows
// nothing but that.
func TestObjectsOfEndedPodsAreNotFollowed(t *testing.T) {
	c := testCluster(t)
	c.register(podWithSecret("over", corev1.PodSucceeded))
	if n := c.objects.Watched(); n != 0 {
		t.Errorf("%d objects of a Pod that was over are followed", n)
	}
	runs := podWithSecret("runs", corev1.PodPending)
	c.register(runs)
	c.onStatus(runs, corev1.PodStatus{Phase: corev1.PodRunning})
	if n := c.objects.Watched(); n != 1 {
		t.Errorf("%d objects of a Pod that runs are followed, want 1", n)
	}
	c.onStatus(runs, corev1.PodStatus{Phase: corev1.PodFailed})
	if n := c.objects.Watched(); n != 0 {
		t.Errorf("%d objects of a Pod that has failed are followed", n)
	}
}

func TestRuntimeHandlers(t *testing.T) {
	var names []string
	for _, h := range runtimeHandlers(map[string]config.IsolationMode{"wasm-shared": config.IsolationShared, "wasm": config.IsolationProcess}) {
		names = append(names, h.Name)
		if !*h.Features.RecursiveReadOnlyMounts || *h.Features.UserNamespaces {
			t.Errorf("%s: %+v", h.Name, h.Features)
		}
	}
	if d := cmp.Diff([]string{"", "wasm", "wasm-shared"}, names); d != "" {
		t.Error(d)
	}
}
