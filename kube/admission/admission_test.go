package admission_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wazlet/wazlet/kube/admission"
	"github.com/wazlet/wazlet/kube/source"
)

func node() *corev1.Node {
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: "n", Labels: map[string]string{
			corev1.LabelArchStable: "wasm32-wasi", corev1.LabelOSStable: "linux", "disk": "ssd",
		}},
		Spec: corev1.NodeSpec{Taints: []corev1.Taint{
			{Key: corev1.LabelArchStable, Value: "wasm32-wasi", Effect: corev1.TaintEffectNoSchedule},
			{Key: corev1.LabelArchStable, Value: "wasm32-wasi", Effect: corev1.TaintEffectNoExecute},
		}},
		Status: corev1.NodeStatus{
			NodeInfo: corev1.NodeSystemInfo{KubeletVersion: "v1.36.3"},
			Allocatable: list("cpu", "2", "memory", "1Gi", "ephemeral-storage", "10Gi", "pods", "3", "example.com/gpu", "1",
				"hugepages-2Mi", "4Mi"),
		},
	}
}

func list(words ...string) corev1.ResourceList {
	out := corev1.ResourceList{}
	for i := 0; i < len(words); i += 2 {
		out[corev1.ResourceName(words[i])] = resource.MustParse(words[i+1])
	}
	return out
}

// pod tolerates the node, as an API server would have made it.
func pod(change ...func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "ns", Annotations: map[string]string{source.SourceAnnotation: "api"}},
		Spec: corev1.PodSpec{
			NodeName: "n", Containers: []corev1.Container{{Name: "c"}},
			Tolerations: []corev1.Toleration{{Key: corev1.LabelArchStable, Operator: corev1.TolerationOpExists}},
		},
	}
	for _, c := range change {
		c(p)
	}
	return p
}

func requests(words ...string) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Spec.Containers[0].Resources.Requests = list(words...) }
}

func port(ip string, protocol corev1.Protocol, number int32) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Spec.Containers[0].Ports = []corev1.ContainerPort{{ContainerPort: 80, HostPort: number, HostIP: ip, Protocol: protocol}}
	}
}

func static(p *corev1.Pod) { p.Annotations[source.SourceAnnotation] = source.FileSource }

func intolerant(p *corev1.Pod) { p.Spec.Tolerations = nil }

func tolerant(p *corev1.Pod) {
	p.Spec.Tolerations = []corev1.Toleration{{Operator: corev1.TolerationOpExists}}
}

func daemon(p *corev1.Pod) {
	yes := true
	p.OwnerReferences = []metav1.OwnerReference{{Kind: "DaemonSet", Name: "kube-proxy", Controller: &yes}}
}

func affinity(key string, op corev1.NodeSelectorOperator, values ...string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Spec.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{
			RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{
				{MatchExpressions: []corev1.NodeSelectorRequirement{{Key: key, Operator: op, Values: values}}},
			}},
		}}
	}
}

func priority(n int32) func(*corev1.Pod) { return func(p *corev1.Pod) { p.Spec.Priority = &n } }

func under(types ...corev1.NodeConditionType) func(*corev1.Node) {
	return func(n *corev1.Node) {
		for _, t := range types {
			n.Status.Conditions = append(n.Status.Conditions, corev1.NodeCondition{Type: t, Status: corev1.ConditionTrue})
		}
	}
}

func no(reason, message string) *admission.Rejection {
	return &admission.Rejection{Reason: reason, Message: message}
}

type question struct {
	name   string
	node   func(*corev1.Node)
	pod    *corev1.Pod
	others []*corev1.Pod
	want   *admission.Rejection
}

func ask(t *testing.T, tests []question) {
	t.Helper()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n := node()
			if tt.node != nil {
				tt.node(n)
			}
			before := tt.pod.DeepCopy()
			got := admission.Decide(admission.Request{Node: n, Pod: tt.pod, Others: tt.others, RuntimeClasses: []string{"wasm"}})
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Errorf("verdict (-want +got):\n%s", d)
			}
			if d := cmp.Diff(before, tt.pod); d != "" {
				t.Errorf("the Pod was changed:\n%s", d)
			}
		})
	}
}

func TestResources(t *testing.T) {
	big := pod(requests("cpu", "1500m", "memory", "512Mi"))
	ask(t, []question{
		{name: "nothing asked", pod: pod()},
		{name: "just enough", pod: pod(requests("cpu", "500m", "memory", "512Mi")), others: []*corev1.Pod{big}},
		{
			name: "cpu", pod: pod(requests("cpu", "501m", "memory", "2Gi")), others: []*corev1.Pod{big},
			want: no("OutOfcpu", "Node didn't have enough resource: cpu, requested: 501, used: 1500, capacity: 2000"),
		},
		{
			name: "memory", pod: pod(requests("memory", "1025Mi")),
			want: no("OutOfmemory", "Node didn't have enough resource: memory, requested: 1074790400, used: 0, capacity: 1073741824"),
		},
		{
			name: "ephemeral storage", pod: pod(requests("ephemeral-storage", "11Gi")),
			want: no("OutOfephemeral-storage", "Node didn't have enough resource: ephemeral-storage, requested: 11811160064, used: 0, capacity: 10737418240"),
		},
		{
			name: "pods", pod: pod(requests("cpu", "9")), others: []*corev1.Pod{pod(), pod(), pod()},
			want: no("OutOfpods", "Node didn't have enough resource: pods, requested: 1, used: 3, capacity: 3"),
		},
		{
			name: "extended", pod: pod(requests("example.com/gpu", "1")), others: []*corev1.Pod{pod(requests("example.com/gpu", "1"))},
			want: no("OutOfexample.com/gpu", "Node didn't have enough resource: example.com/gpu, requested: 1, used: 1, capacity: 1"),
		},
		{name: "extended that only the cluster knows", pod: pod(requests("example.com/licence", "1"))},
		{
			name: "huge pages", pod: pod(requests("hugepages-2Mi", "6Mi")),
			want: no("OutOfhugepages-2Mi", "Node didn't have enough resource: hugepages-2Mi, requested: 6291456, used: 0, capacity: 4194304"),
		},
		{
			name: "huge pages of a size that is not there", pod: pod(requests("hugepages-1Gi", "1Gi")),
			want: no("OutOfhugepages-1Gi", "Node didn't have enough resource: hugepages-1Gi, requested: 1073741824, used: 0, capacity: 0"),
		},
		{
			name: "an init container needs more than the mains",
			pod: pod(requests("cpu", "1"), func(p *corev1.Pod) {
				p.Spec.InitContainers = []corev1.Container{{Name: "i", Resources: corev1.ResourceRequirements{Requests: list("cpu", "3")}}}
			}),
			want: no("OutOfcpu", "Node didn't have enough resource: cpu, requested: 3000, used: 0, capacity: 2000"),
		},
		{
			name: "overhead", pod: pod(requests("cpu", "2"), func(p *corev1.Pod) { p.Spec.Overhead = list("cpu", "1m") }),
			want: no("OutOfcpu", "Node didn't have enough resource: cpu, requested: 2001, used: 0, capacity: 2000"),
		},
	})
}

func TestPlace(t *testing.T) {
	affine := no("NodeAffinity", "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector")
	ports := no("NodePorts", "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports")
	tainted := no("TaintToleration", "Predicate TaintToleration failed: node(s) had taints that the pod didn't tolerate")
	ask(t, []question{
		{name: "node selector", pod: pod(func(p *corev1.Pod) { p.Spec.NodeSelector = map[string]string{"disk": "hdd"} }), want: affine},
		{name: "node selector that fits", pod: pod(func(p *corev1.Pod) { p.Spec.NodeSelector = map[string]string{"disk": "ssd"} })},
		{name: "affinity", pod: pod(affinity("disk", corev1.NodeSelectorOpNotIn, "ssd")), want: affine},
		{name: "affinity that fits", pod: pod(affinity("disk", corev1.NodeSelectorOpIn, "ssd", "hdd"))},
		{name: "affinity that is no affinity", pod: pod(affinity("disk", "Near", "ssd")), want: affine},
		{
			name: "another node", pod: pod(func(p *corev1.Pod) { p.Spec.NodeName = "m" }),
			want: no("NodeName", "Predicate NodeName failed: node(s) didn't match the requested node name"),
		},
		{name: "port", pod: pod(port("", "", 80)), others: []*corev1.Pod{pod(port("10.0.0.1", corev1.ProtocolTCP, 80))}, want: ports},
		{name: "port of another address", pod: pod(port("10.0.0.2", "", 80)), others: []*corev1.Pod{pod(port("10.0.0.1", "", 80))}},
		{name: "port of another protocol", pod: pod(port("", corev1.ProtocolUDP, 80)), others: []*corev1.Pod{pod(port("", "", 80))}},
		{name: "another port", pod: pod(port("", "", 81)), others: []*corev1.Pod{pod(port("", "", 80))}},
		{name: "no toleration", pod: pod(intolerant), want: tainted},
		{
			name: "toleration of NoSchedule only", want: tainted, pod: pod(func(p *corev1.Pod) {
				p.Spec.Tolerations[0].Effect = corev1.TaintEffectNoSchedule
			}),
		},
		{name: "taints that only scheduling heeds", pod: pod(intolerant), node: func(n *corev1.Node) { n.Spec.Taints = n.Spec.Taints[:1] }},
		{name: "static pods tolerate everything", pod: pod(intolerant, static)},
		{name: "what is missing of resources is said first", pod: pod(intolerant, requests("cpu", "3")), want: no("OutOfcpu",
			"Node didn't have enough resource: cpu, requested: 3000, used: 0, capacity: 2000")},
	})
}

func TestPod(t *testing.T) {
	strict := corev1.SupplementalGroupsPolicyStrict
	security := func(sc corev1.PodSecurityContext) func(*corev1.Pod) {
		return func(p *corev1.Pod) { p.Spec.SecurityContext = &sc }
	}
	apparmor := no("AppArmor", "Cannot enforce AppArmor: AppArmor is not enabled on the host")
	ask(t, []question{
		{
			name: "os", pod: pod(func(p *corev1.Pod) { p.Spec.OS = &corev1.PodOS{Name: corev1.Windows} }),
			want: no("PodOSNotSupported", "Failed to admit pod as the OS field doesn't match node OS"),
		},
		{name: "os linux", pod: pod(func(p *corev1.Pod) { p.Spec.OS = &corev1.PodOS{Name: corev1.Linux} })},
		{
			name: "os label", pod: pod(func(p *corev1.Pod) { p.Labels = map[string]string{corev1.LabelOSStable: "windows"} }),
			want: no("PodOSSelectorNodeLabelDoesNotMatch", "Failed to admit pod as the `kubernetes.io/os` label doesn't match node label"),
		},
		{
			name: "sysctl", pod: pod(security(corev1.PodSecurityContext{Sysctls: []corev1.Sysctl{{Name: "kernel.shm_rmid_forced", Value: "1"}}})),
			want: no("SysctlForbidden", `forbidden sysctl: "kernel.shm_rmid_forced" not allowlisted`),
		},
		{
			name: "groups", pod: pod(security(corev1.PodSecurityContext{SupplementalGroupsPolicy: &strict})),
			want: no("SupplementalGroupsPolicyNotSupported", "SupplementalGroupsPolicy=Strict is not supported in this node"),
		},
		{
			name: "apparmor of the pod", want: apparmor,
			pod: pod(security(corev1.PodSecurityContext{AppArmorProfile: &corev1.AppArmorProfile{Type: corev1.AppArmorProfileTypeRuntimeDefault}})),
		},
		{
			name: "apparmor of a container", want: apparmor, pod: pod(func(p *corev1.Pod) {
				p.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{
					AppArmorProfile: &corev1.AppArmorProfile{Type: corev1.AppArmorProfileTypeLocalhost},
				}
			}),
		},
		{
			name: "apparmor by annotation", want: apparmor, pod: pod(func(p *corev1.Pod) {
				p.Annotations[corev1.DeprecatedAppArmorBetaContainerAnnotationKeyPrefix+"c"] = "runtime/default"
			}),
		},
		{
			name: "unconfined", pod: pod(security(corev1.PodSecurityContext{
				AppArmorProfile: &corev1.AppArmorProfile{Type: corev1.AppArmorProfileTypeUnconfined},
			})),
		},
		{
			name: "resources of the pod", pod: pod(func(p *corev1.Pod) {
				p.Spec.Resources = &corev1.ResourceRequirements{Requests: list("cpu", "1")}
			}),
			want: no("PodLevelResourcesNotSupported", "pod-level resources are not supported on the node"),
		},
		{name: "feature that is declared", pod: restarting(), node: func(n *corev1.Node) {
			n.Status.DeclaredFeatures = []string{"RestartAllContainersOnContainerExits"}
		}},
		{
			name: "feature", pod: restarting(),
			want: no("PodFeatureUnsupported", "Pod requires node features that are not available: RestartAllContainersOnContainerExits"),
		},
	})
}

func restarting() *corev1.Pod {
	return pod(func(p *corev1.Pod) {
		p.Spec.Containers[0].RestartPolicyRules = []corev1.ContainerRestartRule{{Action: corev1.ContainerRestartRuleActionRestartAllContainers}}
	})
}

func TestPressure(t *testing.T) {
	memory, disk := corev1.NodeMemoryPressure, corev1.NodeDiskPressure
	ask(t, []question{
		{name: "best effort and memory", node: under(memory), pod: pod(), want: no("Evicted", "The node had condition: [MemoryPressure]. ")},
		{name: "burstable and memory", node: under(memory), pod: pod(requests("cpu", "1m"))},
		{name: "tolerant and memory", node: under(memory), pod: pod(func(p *corev1.Pod) {
			p.Spec.Tolerations = append(p.Spec.Tolerations, corev1.Toleration{Key: corev1.TaintNodeMemoryPressure, Operator: corev1.TolerationOpExists})
		})},
		{name: "disk", node: under(disk), pod: pod(requests("cpu", "1m")), want: no("Evicted", "The node had condition: [DiskPressure]. ")},
		{
			name: "both", node: under(memory, disk), pod: pod(requests("cpu", "1m")),
			want: no("Evicted", "The node had condition: [MemoryPressure DiskPressure]. "),
		},
		{name: "static", node: under(disk), pod: pod(static)},
		{name: "critical", node: under(disk), pod: pod(priority(2_000_000_000))},
		{name: "important", node: under(disk), pod: pod(priority(1_000_000_000)), want: no("Evicted", "The node had condition: [DiskPressure]. ")},
	})
}

func TestNotForWasm(t *testing.T) {
	refused := no("NotForWasm", `this node runs WebAssembly only, and the Pods of DaemonSet "kube-proxy" are here because they tolerate every taint; `+
		`give them nodeSelector kubernetes.io/arch: wasm32-wasi if their image is wasm, or else keep them away with a nodeAffinity on kubernetes.io/arch`)
	ask(t, []question{
		{name: "kube-proxy", pod: pod(daemon, tolerant), want: refused},
		{name: "selects the operating system only", want: refused, pod: pod(daemon, tolerant, func(p *corev1.Pod) {
			p.Spec.NodeSelector = map[string]string{corev1.LabelOSStable: "linux"}
		})},
		{name: "its controller's affinity to the node", want: refused, pod: pod(daemon, tolerant, affinity("disk", corev1.NodeSelectorOpIn, "ssd"))},
		{name: "keeps away from an architecture", want: refused, pod: pod(daemon, tolerant, affinity(corev1.LabelArchStable, corev1.NodeSelectorOpNotIn, "amd64"))},
		{name: "no DaemonSet", pod: pod(tolerant)},
		{name: "names the taint", pod: pod(daemon)},
		{name: "names the taint and all others", pod: pod(daemon, func(p *corev1.Pod) {
			p.Spec.Tolerations = append(p.Spec.Tolerations, corev1.Toleration{Operator: corev1.TolerationOpExists})
		})},
		{name: "selects the architecture", pod: pod(daemon, tolerant, func(p *corev1.Pod) {
			p.Spec.NodeSelector = map[string]string{corev1.LabelArchStable: "wasm32-wasi"}
		})},
		{name: "asks for the architecture", pod: pod(daemon, tolerant, affinity(corev1.LabelArchStable, corev1.NodeSelectorOpIn, "wasm32-wasi"))},
		{name: "has our runtime class", pod: pod(daemon, tolerant, func(p *corev1.Pod) { class := "wasm"; p.Spec.RuntimeClassName = &class })},
		{name: "has another runtime class", want: refused, pod: pod(daemon, tolerant, func(p *corev1.Pod) { class := "gvisor"; p.Spec.RuntimeClassName = &class })},
		{name: "the node lets everything come", pod: pod(daemon, tolerant), node: func(n *corev1.Node) { n.Spec.Taints = nil }},
		{name: "the node is only cordoned", pod: pod(daemon, tolerant), node: func(n *corev1.Node) {
			n.Spec.Taints = []corev1.Taint{{Key: corev1.TaintNodeUnschedulable, Effect: corev1.TaintEffectNoSchedule}}
		}},
	})
}

func TestWithoutNode(t *testing.T) {
	want := no("InvalidNodeInfo", "Kubelet cannot get node info.")
	if d := cmp.Diff(want, admission.Decide(admission.Request{Pod: pod()})); d != "" {
		t.Errorf("a Pod of the API (-want +got):\n%s", d)
	}
	if got := admission.Decide(admission.Request{Pod: pod(static, requests("cpu", "99"))}); got != nil {
		t.Errorf("a static Pod: %v", got)
	}
	windows := pod(static, func(p *corev1.Pod) { p.Spec.OS = &corev1.PodOS{Name: corev1.Windows} })
	if got := admission.Decide(admission.Request{Pod: windows}); got == nil || got.Reason != "PodOSNotSupported" {
		t.Errorf("a static Pod for Windows: %v", got)
	}
}

// A bug costs one Pod its place.
func TestPanic(t *testing.T) {
	got := admission.Decide(admission.Request{Node: node(), Pod: pod(), Others: []*corev1.Pod{nil}})
	if got == nil || got.Reason != "UnexpectedAdmissionError" {
		t.Errorf("verdict: %v, want UnexpectedAdmissionError", got)
	}
}
