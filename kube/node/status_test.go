package node

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/component-helpers/node/util"
)

func quantity(s string) resource.Quantity { return resource.MustParse(s) }

func condition(n *corev1.Node, kind corev1.NodeConditionType) (int, corev1.NodeCondition) {
	i, c := util.GetNodeCondition(&n.Status, kind)
	if c == nil {
		return -1, corev1.NodeCondition{}
	}
	return i, *c
}

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func goldenConfig() Config {
	config := testConfig(nil)
	config.Labels = map[string]string{"topology.kubernetes.io/zone": "attic", "type": "krustlet"}
	config.Reserved = corev1.ResourceList{
		corev1.ResourceCPU: quantity("500m"), corev1.ResourceMemory: quantity("1Gi"), corev1.ResourceEphemeralStorage: quantity("200Gi"),
	}
	config.Images = func() []corev1.ContainerImage {
		return []corev1.ContainerImage{{Names: []string{"small"}, SizeBytes: 1}, {Names: []string{"large@sha256:00", "large:v1"}, SizeBytes: 9}}
	}
	config.RuntimeHandlers = []corev1.NodeRuntimeHandler{{Name: ""}, {Name: "wasm-shared"}}
	return config.withDefaults()
}

func TestGoldenNode(t *testing.T) {
	config := goldenConfig()
	node, _ := config.status(config.initial(), config.observe(), noon)
	got, err := json.MarshalIndent(node, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	file := filepath.Join("testdata", "node.json")
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(want, got) {
		t.Error(cmp.Diff(string(want), string(got)))
	}
}

func TestReadySaysWhatIsWrong(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*observation)
		want   string
	}{
		"runtime":  {func(o *observation) { o.notReady = errors.New("no shim") }, "no shim"},
		"address":  {func(o *observation) { o.addressErr = errors.New("no address") }, "no address"},
		"capacity": {func(o *observation) { o.machine.CPUs = 0; o.machine.DiskBytes = 0 }, "missing node capacity for resources: cpu, ephemeral-storage"},
		"machine": {
			func(o *observation) { o.machineErr = errors.New("no proc") },
			"[no proc, missing node capacity for resources: cpu, memory, pods, ephemeral-storage]",
		},
	} {
		t.Run(name, func(t *testing.T) {
			config := goldenConfig()
			o := config.observe()
			tt.change(&o)
			node, _ := config.status(config.initial(), o, noon)
			i, ready := condition(node, corev1.NodeReady)
			if ready.Status != corev1.ConditionFalse || ready.Reason != "KubeletNotReady" || ready.Message != tt.want {
				t.Errorf("got %s %s %q, want False KubeletNotReady %q", ready.Status, ready.Reason, ready.Message, tt.want)
			}
			if i != len(node.Status.Conditions)-1 {
				t.Errorf("Ready is condition %d of %d, want the last", i, len(node.Status.Conditions))
			}
		})
	}
}

func TestConditionsOverTime(t *testing.T) {
	config := goldenConfig()
	o := config.observe()
	node, _ := config.status(config.initial(), o, noon)
	o.pressure = Pressure{Disk: true, PID: true}
	later := noon.Add(time.Minute)
	node, events := config.status(node, o, later)
	_, disk := condition(node, corev1.NodeDiskPressure)
	want := corev1.NodeCondition{
		Type: corev1.NodeDiskPressure, Status: corev1.ConditionTrue, Reason: "KubeletHasDiskPressure", Message: "kubelet has disk pressure",
		LastHeartbeatTime: metav1.NewTime(later), LastTransitionTime: metav1.NewTime(later),
	}
	if diff := cmp.Diff(want, disk); diff != "" {
		t.Error(diff)
	}
	if len(events) != 2 || events[0].reason != "NodeHasDiskPressure" || events[1].reason != "NodeHasInsufficientPID" {
		t.Errorf("events %+v", events)
	}

	// What cannot be measured stays as it was; the heartbeat goes on.
	o.pressure, o.pressureErr = Pressure{}, errors.New("statfs")
	last := noon.Add(2 * time.Minute)
	node, events = config.status(node, o, last)
	_, disk = condition(node, corev1.NodeDiskPressure)
	want.LastHeartbeatTime = metav1.NewTime(last)
	if diff := cmp.Diff(want, disk); diff != "" {
		t.Error(diff)
	}
	if len(events) != 0 {
		t.Errorf("events %+v", events)
	}
}

func TestHeartbeatsAreNoNews(t *testing.T) {
	config := goldenConfig()
	o := config.observe()
	a, _ := config.status(config.initial(), o, noon)
	b, _ := config.status(a, o, noon.Add(time.Minute))
	if differs(a, b) {
		t.Error("a heartbeat is taken for news")
	}
	b.Status.Conditions[0], b.Status.Conditions[3] = b.Status.Conditions[3], b.Status.Conditions[0]
	if differs(a, b) {
		t.Error("the order of conditions is taken for news")
	}
	b.Labels[corev1.LabelArchStable] = "amd64"
	if c, _ := config.status(b, o, noon); !differs(b, c) {
		t.Error("a wrong arch label is not repaired")
	}
}

func TestImagesAreLimited(t *testing.T) {
	var images []corev1.ContainerImage
	for i := range 60 {
		images = append(images, corev1.ContainerImage{Names: []string{"a", "b", "c", "d", "e", strconv.Itoa(i)}, SizeBytes: int64(i)})
	}
	got := largest(images)
	if len(got) != 50 || got[0].SizeBytes != 59 || got[49].SizeBytes != 10 || len(got[0].Names) != 5 {
		t.Errorf("%d images from %d to %d with %d names, want 50 from 59 to 10 with 5", len(got), got[0].SizeBytes, got[len(got)-1].SizeBytes, len(got[0].Names))
	}
	if images[0].SizeBytes != 0 || len(images[59].Names) != 6 {
		t.Error("the caller's list was changed")
	}
}

func TestPatch(t *testing.T) {
	config := goldenConfig()
	old, _ := config.status(config.initial(), config.observe(), noon)
	for name, change := range map[string]func(*corev1.Node){
		"nothing":    func(*corev1.Node) {},
		"heartbeat":  func(n *corev1.Node) { n.Status.Conditions[0].LastHeartbeatTime = metav1.NewTime(noon.Add(time.Hour)) },
		"label":      func(n *corev1.Node) { n.Labels["a"] = "b" },
		"images":     func(n *corev1.Node) { n.Status.Images = nil },
		"one family": func(n *corev1.Node) { n.Status.Addresses[0].Address = "192.0.2.8" },
		"two addresses of a type": func(n *corev1.Node) {
			n.Status.Addresses = []corev1.NodeAddress{
				{Type: "InternalIP", Address: "192.0.2.7"}, {Type: "InternalIP", Address: "2001:db8::7"}, {Type: "Hostname", Address: "edge"},
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			next := old.DeepCopy()
			change(next)
			patch, err := patchBytes(old, next)
			if err != nil {
				t.Fatal(err)
			}
			before, err := json.Marshal(old)
			if err != nil {
				t.Fatal(err)
			}
			after, err := strategicpatch.StrategicMergePatch(before, patch, corev1.Node{})
			if err != nil {
				t.Fatal(err)
			}
			var got corev1.Node
			if err := json.Unmarshal(after, &got); err != nil {
				t.Fatal(err)
			}
			wantJSON, err := json.Marshal(next)
			if err != nil {
				t.Fatal(err)
			}
			var want corev1.Node
			if err := json.Unmarshal(wantJSON, &want); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("patch %s: %s", patch, diff)
			}
		})
	}
	next := old.DeepCopy()
	next.Spec.Taints = nil
	patch, err := patchBytes(old, next)
	if err != nil || string(patch) != "{}" {
		t.Errorf("a change of the spec gives the patch %s, %v, want {}", patch, err)
	}
}
