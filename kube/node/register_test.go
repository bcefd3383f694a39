package node

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/record"
)

func TestRestartRefreshes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		long := metav1.NewTime(time.Now().Add(-time.Hour))
		old := &corev1.Node{
			ObjectMeta: metav1.ObjectMeta{
				Name: "edge", UID: "uid-0", ResourceVersion: "1",
				Labels:      map[string]string{"kubernetes.io/arch": "amd64", "zone": "a", "node-role.kubernetes.io/wasm": ""},
				Annotations: map[string]string{"flannel": "x"},
			},
			Spec: corev1.NodeSpec{Taints: []corev1.Taint{{Key: "mine", Effect: corev1.TaintEffectNoSchedule}}, PodCIDRs: []string{"10.9.0.0/24"}},
			Status: corev1.NodeStatus{
				Capacity:  corev1.ResourceList{"example.com/gpu": quantity("2")},
				Addresses: []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "192.0.2.1"}},
				NodeInfo:  corev1.NodeSystemInfo{BootID: "b0"},
				Conditions: []corev1.NodeCondition{
					{Type: corev1.NodeReady, Status: corev1.ConditionUnknown, LastTransitionTime: long},
					{Type: corev1.NodeNetworkUnavailable, Status: corev1.ConditionFalse, LastTransitionTime: long},
					{Type: corev1.NodeMemoryPressure, Status: corev1.ConditionFalse, Reason: "KubeletHasSufficientMemory", LastTransitionTime: long},
				},
			},
		}
		api := newCluster(t, old)
		config := testConfig(api)
		config.Labels = map[string]string{"rack": "7"}
		recorder := record.NewFakeRecorder(100)
		config.Recorder = recorder
		var cidrs []string
		config.OnPodCIDRs = func(c []string) { cidrs = c }
		c, stop := start(t, config)
		defer stop()
		<-c.Registered()
		synctest.Wait()

		n := api.node()
		wantLabels := config.withDefaults().labels()
		wantLabels["zone"], wantLabels["node-role.kubernetes.io/wasm"] = "a", ""
		if diff := cmp.Diff(wantLabels, n.Labels); diff != "" {
			t.Error("labels:", diff)
		}
		if diff := cmp.Diff(old.Spec, n.Spec); diff != "" {
			t.Error("spec:", diff)
		}
		if n.Annotations["flannel"] != "x" || n.Annotations[annotationAttach] != "true" {
			t.Error("annotations:", n.Annotations)
		}
		wantAddresses := []corev1.NodeAddress{{Type: "InternalIP", Address: "192.0.2.7"}, {Type: "Hostname", Address: "edge"}}
		if diff := cmp.Diff(wantAddresses, n.Status.Addresses); diff != "" {
			t.Error("addresses:", diff)
		}
		if q := n.Status.Capacity["example.com/gpu"]; q.Value() != 2 {
			t.Error("a foreign resource was lost:", n.Status.Capacity)
		}
		_, memory := condition(n, corev1.NodeMemoryPressure)
		if !memory.LastTransitionTime.Equal(&long) {
			t.Errorf("MemoryPressure did not change, but its transition is %v", memory.LastTransitionTime)
		}
		if i, _ := condition(n, corev1.NodeNetworkUnavailable); i < 0 {
			t.Error("a foreign condition was lost")
		}
		events := strings.Join(drain(recorder), "\n")
		for _, want := range []string{"Warning Rebooted Node edge has been rebooted, boot id: b1", "Normal NodeReady ", "Normal NodeHasNoDiskPressure "} {
			if !strings.Contains(events, want) {
				t.Errorf("no event %q in\n%s", want, events)
			}
		}
		if diff := cmp.Diff([]string{"10.9.0.0/24"}, cidrs); diff != "" {
			t.Error("pod CIDRs:", diff)
		}
		if n := api.count("patch", "nodes"); n != 1 {
			t.Errorf("%d patches, want 1", n)
		}
	})
}

func TestRegistrationIsTriedUntilItWorks(t *testing.T) {
	forbidden := apierrors.NewForbidden(schema.GroupResource{Resource: "nodes"}, "edge", errors.New("no"))
	t.Run("API server away", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			api := newCluster(t)
			back := time.Now().Add(60 * time.Second)
			api.deny("create", "nodes", func() error {
				if time.Now().Before(back) {
					return errors.New("connection refused")
				}
				return nil
			})
			c, stop := start(t, testConfig(api))
			defer stop()
			<-c.Registered()
			if late := time.Since(back); late > registerMax {
				t.Errorf("registered %v after the API server came back", late)
			}
			if n := api.count("create", "nodes"); n < 10 || n > 20 {
				t.Errorf("%d tries in a minute, want 10 to 20", n)
			}
		})
	})
	t.Run("may not create, but exists", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			api := newCluster(t, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "edge"}})
			api.deny("create", "nodes", func() error { return forbidden })
			c, stop := start(t, testConfig(api))
			defer stop()
			<-c.Registered()
			if got := api.node().Labels[corev1.LabelArchStable]; got != Arch {
				t.Errorf("arch label %q", got)
			}
		})
	})
	t.Run("may not create, does not exist", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			api := newCluster(t)
			api.deny("create", "nodes", func() error { return forbidden })
			c, stop := start(t, testConfig(api))
			pass(time.Minute)
			stop()
			select {
			case <-c.Registered():
				t.Error("registered")
			default:
			}
		})
	})
}
