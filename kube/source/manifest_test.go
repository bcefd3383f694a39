package source_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"github.com/wazlet/wazlet/kube/source"
)

func decode(t *testing.T, text string) *corev1.Pod {
	t.Helper()
	pod, problems := source.Decode("/m/p.yaml", []byte(text), "Edge")
	if problems != nil {
		t.Fatalf("problems: %v", problems)
	}
	return pod
}

const minimal = `apiVersion: v1
kind: Pod
metadata: {name: p}
spec: {containers: [{name: c, image: r.example/c}]}
`

func TestDefaults(t *testing.T) {
	pod := decode(t, `{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "labels": {"a": "b"}},
	"spec": {
		"initContainers": [{"name": "i", "image": "r.example/i:v1"}],
		"containers": [{
			"name": "c", "image": "r.example/c",
			"ports": [{"containerPort": 80}],
			"env": [{"name": "N", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
			"resources": {"limits": {"memory": "64Mi", "cpu": 1}, "requests": {"cpu": "500m"}},
			"livenessProbe": {"httpGet": {"port": 80}},
			"readinessProbe": {"grpc": {"port": 81}},
			"lifecycle": {"preStop": {"httpGet": {"port": "web"}}},
			"volumeMounts": [{"name": "e", "mountPath": "/e"}]
		}],
		"volumes": [{"name": "e"}, {"name": "h", "hostPath": {"path": "/h"}},
			{"name": "d", "downwardAPI": {"items": [{"path": "l", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
			{"name": "p", "projected": {"sources": [{"downwardAPI": {"items": [{"path": "l", "fieldRef": {"fieldPath": "metadata.labels"}}]}}]}},
			{"name": "i", "image": {"reference": "r.example/data:v1"}}]
	}}`)
	uid := pod.UID
	items := []corev1.DownwardAPIVolumeFile{{Path: "l", FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: "metadata.labels"}}}
	want := &corev1.Pod{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{
			Name: "p-edge", Namespace: "default", UID: uid, Labels: map[string]string{"a": "b"},
			Annotations: map[string]string{
				"kubernetes.io/config.source": "file", "kubernetes.io/config.hash": string(uid), "wazlet.dev/manifest-name": "p",
			},
		},
		Spec: corev1.PodSpec{
			NodeName: "Edge", RestartPolicy: corev1.RestartPolicyAlways, DNSPolicy: corev1.DNSClusterFirst,
			SchedulerName: "default-scheduler", TerminationGracePeriodSeconds: ptr.To[int64](30),
			EnableServiceLinks: new(true), SecurityContext: &corev1.PodSecurityContext{},
			Tolerations: []corev1.Toleration{{Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute}},
			InitContainers: []corev1.Container{{
				Name: "i", Image: "r.example/i:v1", ImagePullPolicy: corev1.PullIfNotPresent,
				TerminationMessagePath: "/dev/termination-log", TerminationMessagePolicy: corev1.TerminationMessageReadFile,
			}},
			Containers: []corev1.Container{{
				Name: "c", Image: "r.example/c", ImagePullPolicy: corev1.PullAlways,
				TerminationMessagePath: "/dev/termination-log", TerminationMessagePolicy: corev1.TerminationMessageReadFile,
				Ports: []corev1.ContainerPort{{ContainerPort: 80, Protocol: corev1.ProtocolTCP}},
				Env: []corev1.EnvVar{{Name: "N", ValueFrom: &corev1.EnvVarSource{
					FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: "metadata.name"},
				}}},
				Resources: corev1.ResourceRequirements{
					Limits:   corev1.ResourceList{"memory": resource.MustParse("64Mi"), "cpu": resource.MustParse("1")},
					Requests: corev1.ResourceList{"memory": resource.MustParse("64Mi"), "cpu": resource.MustParse("500m")},
				},
				LivenessProbe: &corev1.Probe{
					ProbeHandler:   corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/", Port: intstr.FromInt32(80), Scheme: "HTTP"}},
					TimeoutSeconds: 1, PeriodSeconds: 10, SuccessThreshold: 1, FailureThreshold: 3,
				},
				ReadinessProbe: &corev1.Probe{
					ProbeHandler:   corev1.ProbeHandler{GRPC: &corev1.GRPCAction{Port: 81, Service: new("")}},
					TimeoutSeconds: 1, PeriodSeconds: 10, SuccessThreshold: 1, FailureThreshold: 3,
				},
				Lifecycle: &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{
					HTTPGet: &corev1.HTTPGetAction{Path: "/", Port: intstr.FromString("web"), Scheme: "HTTP"},
				}},
				VolumeMounts: []corev1.VolumeMount{{Name: "e", MountPath: "/e"}},
			}},
			Volumes: []corev1.Volume{
				{Name: "e", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
				{Name: "h", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/h", Type: ptr.To(corev1.HostPathUnset)}}},
				{Name: "d", VolumeSource: corev1.VolumeSource{DownwardAPI: &corev1.DownwardAPIVolumeSource{DefaultMode: ptr.To[int32](0o644), Items: items}}},
				{Name: "p", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
					DefaultMode: ptr.To[int32](0o644), Sources: []corev1.VolumeProjection{{DownwardAPI: &corev1.DownwardAPIProjection{Items: items}}},
				}}},
				{Name: "i", VolumeSource: corev1.VolumeSource{Image: &corev1.ImageVolumeSource{Reference: "r.example/data:v1", PullPolicy: corev1.PullIfNotPresent}}},
			},
		},
		Status: corev1.PodStatus{Phase: corev1.PodPending},
	}
	if d := cmp.Diff(want, pod); d != "" {
		t.Error(d)
	}
}

func TestGivenValuesStay(t *testing.T) {
	pod := decode(t, `apiVersion: v1
kind: Pod
metadata:
  name: p
  namespace: ns
  resourceVersion: "7"
  ownerReferences: [{apiVersion: v1, kind: Node, name: n1, uid: u1}]
  annotations: {kubernetes.io/config.mirror: x, kubernetes.io/config.hash: h1, mine: z}
spec:
  nodeName: edge
  restartPolicy: Never
  terminationGracePeriodSeconds: 0
  enableServiceLinks: false
  hostNetwork: true
  tolerations: [{operator: Exists, effect: NoExecute}]
  containers: [{name: c, image: "r.example/c:latest", imagePullPolicy: Never, ports: [{containerPort: 80, protocol: UDP}]}]
status: {phase: Running}
`)
	if pod.ResourceVersion != "" || pod.OwnerReferences != nil {
		t.Errorf("what a server wrote is still there: %+v", pod.ObjectMeta)
	}
	wantAnnotations := map[string]string{
		"kubernetes.io/config.source": "file", "kubernetes.io/config.hash": string(pod.UID), "mine": "z", "wazlet.dev/manifest-name": "p",
	}
	if d := cmp.Diff(wantAnnotations, pod.Annotations); d != "" {
		t.Error(d)
	}
	s, c := pod.Spec, pod.Spec.Containers[0]
	if pod.Namespace != "ns" || s.NodeName != "Edge" || s.RestartPolicy != "Never" || *s.TerminationGracePeriodSeconds != 0 ||
		*s.EnableServiceLinks || len(s.Tolerations) != 1 || c.ImagePullPolicy != "Never" || c.Ports[0].HostPort != 80 ||
		pod.Status.Phase != corev1.PodPending {
		t.Errorf("got %+v", pod)
	}
}

func TestPullPolicy(t *testing.T) {
	digest := "@sha256:" + strings.Repeat("0", 64)
	for image, want := range map[string]corev1.PullPolicy{
		"a": corev1.PullAlways, "a:latest": corev1.PullAlways, "a:v1": corev1.PullIfNotPresent, "r:5000/a": corev1.PullAlways,
		"r:5000/a:v1": corev1.PullIfNotPresent, "a" + digest: corev1.PullIfNotPresent, "a:v1" + digest: corev1.PullIfNotPresent,
		"a:latest" + digest: corev1.PullAlways,
	} {
		pod := decode(t, strings.Replace(minimal, "r.example/c", `"`+image+`"`, 1))
		if got := pod.Spec.Containers[0].ImagePullPolicy; got != want {
			t.Errorf("%s: %s, want %s", image, got, want)
		}
	}
}

// The UID tells Pods apart by node, file and content, and by nothing else.
func TestUID(t *testing.T) {
	uid := func(file, text, node string) string {
		pod, problems := source.Decode(file, []byte(text), node)
		if problems != nil {
			t.Fatal(problems)
		}
		return string(pod.UID)
	}
	base := uid("/m/p", minimal, "n")
	if len(base) != 32 {
		t.Errorf("UID %q is not of the kubelet's form", base)
	}
	for name, same := range map[string]string{
		"comment":         uid("/m/p", "# comment\n"+minimal, "n"),
		"json, reordered": uid("/m/p", `{"kind":"Pod","apiVersion":"v1","spec":{"containers":[{"image":"r.example/c","name":"c"}]},"metadata":{"name":"p"}}`, "n"),
	} {
		if same != base {
			t.Errorf("%s: another UID", name)
		}
	}
	for name, other := range map[string]string{
		"file":    uid("/m/q", minimal, "n"),
		"node":    uid("/m/p", minimal, "m"),
		"content": uid("/m/p", minimal+"#", "n") + uid("/m/p", strings.Replace(minimal, "r.example/c", "r.example/d", 1), "n"),
	} {
		if other == base {
			t.Errorf("another %s: the same UID", name)
		}
	}
}

func TestExamplesAreValid(t *testing.T) {
	files, err := filepath.Glob("../../deploy/examples/manifests*/*.yaml")
	if err != nil || len(files) < 7 {
		t.Fatalf("found %d examples, %v", len(files), err)
	}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if _, problems := source.Decode(f, data, "local"); problems != nil {
			t.Error(problems)
		}
	}
}

// withSpec is a Pod whose spec is the text, indented by two.
func withSpec(text string) string {
	return "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n" + text
}

const ok = "  containers: [{name: c, image: i:v1}]\n"

func TestProblems(t *testing.T) {
	for name, tc := range map[string]struct {
		text string
		want []string
	}{
		"empty":     {"", []string{"f: holds no Pod"}},
		"comments":  {"# a\n---\n# b\n", []string{"f: holds no Pod"}},
		"syntax":    {"a: b: c", []string{"f: not valid YAML: mapping values are not allowed in this context"}},
		"not a Pod": {"just text\n", []string{"f:1: kind: must be Pod (got nothing)", "f:1: apiVersion: must be v1 (got nothing)"}},
		"Deployment": {"apiVersion: apps/v1\nkind: Deployment\nspec: {}\n", []string{
			`f:2: kind: must be Pod; a node without a cluster runs nothing else (got "Deployment")`, `f:1: apiVersion: must be v1 (got "apps/v1")`,
		}},
		"a list": {"apiVersion: v1\nkind: PodList\nitems: []\n", []string{
			`f:2: kind: must be Pod: a manifest holds one Pod; move each to a file of its own (got "PodList")`,
		}},
		"two": {minimal + "---\n" + minimal, []string{
			"f:6: a second document: a manifest holds one Pod; move this one to a file of its own",
		}},
		"unknown and mistyped fields": {withSpec("  containers:\n  - name: c\n    imag: x\n    ports: [{containerPort: http}]\n  restartpolicy: Never\n"), []string{
			"f:7: spec.containers[0].imag: unknown field; did you mean image?",
			`f:8: spec.containers[0].ports[0].containerPort: must be an integer of at most 32 bits (got "http")`,
			"f:9: spec.restartpolicy: unknown field; did you mean restartPolicy?",
		}},
		"nothing in it": {"apiVersion: v1\nkind: Pod\n", []string{
			"f:1: metadata.name: must be set", "f:1: spec.containers: must be set: a Pod has at least one container",
		}},
		"metadata": {"apiVersion: v1\nkind: Pod\nmetadata:\n  name: P_1\n  uid: abc\n  generateName: x\n  deletionTimestamp: 2006-01-02T15:04:05Z\n  namespace: a.b\nspec:\n" + ok, []string{
			"f:5: metadata.uid: a static Pod's UID is made from its manifest; remove this field",
			"f:7: metadata.deletionTimestamp: a static Pod is deleted by removing its manifest",
			"f:4: metadata.name: a lowercase RFC 1123 subdomain", `f:8: metadata.namespace: must not contain dots (got "a.b")`,
		}},
		"only generateName": {"apiVersion: v1\nkind: Pod\nmetadata: {generateName: x}\nspec:\n" + ok, []string{
			"f:3: metadata.generateName: a static Pod needs a name of its own in metadata.name", "f:3: metadata.name: must be set",
		}},
		"long name": {strings.Replace(minimal, "name: p", "name: "+strings.Repeat("a", 250), 1), []string{
			"f:3: metadata.name: must be at most 248 characters, so that there is room for the node's name",
		}},
		"spec": {withSpec(ok + `  nodeName: other
  restartPolicy: Sometimes
  dnsPolicy: Guess
  terminationGracePeriodSeconds: -1
  activeDeadlineSeconds: 0
  hostname: A
  runtimeClassName: B_
  hostAliases: [{ip: localhost, hostnames: [ok, "_"]}]
  nodeSelector: {"a b": c}
  ephemeralContainers: [{name: e, image: i}]
  tolerations: [{effect: Never}, {key: k, operator: Exists, value: v, tolerationSeconds: 1}]
`), []string{
			`f:6: spec.nodeName: must be absent or the name of this node, node (got "other")`,
			"f:15: spec.ephemeralContainers: a static Pod may not have ephemeral containers",
			`f:7: spec.restartPolicy: must be one of "Always", "OnFailure", "Never" (got "Sometimes")`,
			`f:8: spec.dnsPolicy: must be one of "ClusterFirst", "ClusterFirstWithHostNet", "Default", "None" (got "Guess")`,
			"f:9: spec.terminationGracePeriodSeconds: must not be negative (got -1)",
			"f:10: spec.activeDeadlineSeconds: must be between 1 and 2147483647 (got 0)",
			"f:11: spec.hostname: a lowercase RFC 1123 label", "f:12: spec.runtimeClassName: a lowercase RFC 1123 subdomain",
			"f:14: spec.nodeSelector: name part must consist of",
			`f:16: spec.tolerations[0].effect: must be one of "NoSchedule", "PreferNoSchedule", "NoExecute" (got "Never")`,
			`f:16: spec.tolerations[0].operator: must be Exists when there is no key (got "")`,
			`f:16: spec.tolerations[1].value: must be absent when the operator is Exists (got "v")`,
			`f:16: spec.tolerations[1].effect: must be NoExecute when tolerationSeconds is given (got "")`,
			`f:13: spec.hostAliases[0].ip: must be an IP address (got "localhost")`, "f:13: spec.hostAliases[0].hostnames[1]: a lowercase RFC 1123 subdomain",
		}},
		"containers": {withSpec(`  initContainers:
  - {name: c, image: "i:v1", restartPolicy: Often, livenessProbe: {tcpSocket: {port: 1}}, lifecycle: {}}
  containers:
  - {name: c, image: " i:v1", imagePullPolicy: Maybe, terminationMessagePolicy: Guess}
  - name: Bad_Name
    env: [{name: ""}, {name: "a=b"}, {name: A, value: v, valueFrom: {fieldRef: {fieldPath: x}}}]
  - {image: "i:v1"}
`), []string{
			`f:6: spec.initContainers[0].restartPolicy: must be one of "Always", "OnFailure", "Never" (got "Often")`,
			"f:6: spec.initContainers[0].livenessProbe: an init container has no probes, unless its restartPolicy is Always",
			"f:6: spec.initContainers[0].lifecycle: an init container has no lifecycle handlers, unless its restartPolicy is Always",
			`f:8: spec.containers[0].name: is given twice (got "c")`,
			`f:8: spec.containers[0].image: must not have leading or trailing whitespace (got " i:v1")`,
			`f:8: spec.containers[0].imagePullPolicy: must be one of "Always", "IfNotPresent", "Never" (got "Maybe")`,
			`f:8: spec.containers[0].terminationMessagePolicy: must be one of "File", "FallbackToLogsOnError" (got "Guess")`,
			"f:9: spec.containers[1].name: a lowercase RFC 1123 label", "f:9: spec.containers[1].image: must be set",
			"f:10: spec.containers[1].env[0].name: must be set", "f:10: spec.containers[1].env[1].name: a valid environment variable name",
			"f:10: spec.containers[1].env[2].valueFrom: value and valueFrom exclude each other", "f:11: spec.containers[2].name: must be set",
		}},
		"env sources": {withSpec(`  containers:
  - name: c
    image: i:v1
    env:
    - {name: A, valueFrom: {}}
    - {name: B, valueFrom: {fieldRef: {fieldPath: metadata.name}, resourceFieldRef: {resource: limits.cpu}}}
    - {name: C, valueFrom: {fieldRef: {fieldPath: spec.color}}}
    - {name: D, valueFrom: {resourceFieldRef: {resource: cpu}}}
    - {name: E, valueFrom: {fieldRef: {fieldPath: "metadata.labels['a b']"}}}
    - {name: F, valueFrom: {fieldRef: {fieldPath: "metadata.labels['app']", apiVersion: v2}}}
    - {name: G, valueFrom: {fieldRef: {}}}
    - {name: H, valueFrom: {resourceFieldRef: {}}}
    envFrom: [{prefix: "a="}]
`), []string{
			"f:9: spec.containers[0].env[0].valueFrom: must be set: one of fieldRef, resourceFieldRef, fileKeyRef",
			"f:10: spec.containers[0].env[1].valueFrom: must have one source only",
			"f:11: spec.containers[0].env[2].valueFrom.fieldRef.fieldPath: must be one of", "f:12: spec.containers[0].env[3].valueFrom.resourceFieldRef.resource: must be one of",
			"f:13: spec.containers[0].env[4].valueFrom.fieldRef.fieldPath: name part must consist of",
			`f:14: spec.containers[0].env[5].valueFrom.fieldRef.apiVersion: must be v1 (got "v2")`,
			"f:15: spec.containers[0].env[6].valueFrom.fieldRef.fieldPath: must be set", "f:16: spec.containers[0].env[7].valueFrom.resourceFieldRef.resource: must be set",
			"f:17: spec.containers[0].envFrom[0].prefix: a valid environment variable name",
		}},
		"ports": {withSpec(`  containers:
  - name: c
    image: i:v1
    ports:
    - {containerPort: 0, hostPort: 70000, protocol: ICMP, name: UP}
    - {containerPort: 1, hostPort: 8, name: a}
    - {containerPort: 2, hostPort: 8, name: a}
`), []string{
			"f:9: spec.containers[0].ports[0].containerPort: must be between 1 and 65535 (got 0)",
			"f:9: spec.containers[0].ports[0].hostPort: must be between 1 and 65535 (got 70000)",
			`f:9: spec.containers[0].ports[0].protocol: must be one of "TCP", "UDP", "SCTP" (got "ICMP")`,
			"f:9: spec.containers[0].ports[0].name: must contain only", "f:9: spec.containers[0].ports[0].name: must contain at least one letter",
			`f:11: spec.containers[0].ports[2].name: is given twice (got "a")`,
			"f:11: spec.containers[0].ports[2].hostPort: is given twice (got 8)",
		}},
		"volumes and mounts": {withSpec(`  containers:
  - name: c
    image: i:v1
    volumeMounts:
    - {name: typo, mountPath: /a}
    - {name: a, mountPath: /a, subPath: ../x, subPathExpr: /y, mountPropagation: Up}
    - {}
  volumes:
  - {name: a}
  - {name: a, emptyDir: {}, hostPath: {path: /x}}
  - {name: b, hostPath: {path: rel, type: Dir}}
  - {name: c, hostPath: {path: /a/../b}}
  - {name: d, hostPath: {}}
  - {name: e, emptyDir: {medium: Tape, sizeLimit: "-1"}}
  - {name: f, downwardAPI: {defaultMode: 512, items: [{path: /x}, {fieldRef: {fieldPath: status.podIP}}, {path: r, resourceFieldRef: {resource: limits.cpu}}]}}
  - {name: g, image: {pullPolicy: Maybe}}
  - {hostPath: {path: /x}}
  - {name: h, projected: {sources: [{downwardAPI: {items: [{path: x, mode: -1, fieldRef: {fieldPath: metadata.name}, resourceFieldRef: {resource: x}}]}}]}}
`), []string{
			`f:14: spec.volumes[1].name: is given twice (got "a")`, `f:14: spec.volumes[1]: must be of one type only (got "hostPath, emptyDir")`,
			`f:15: spec.volumes[2].hostPath.path: must be an absolute path (got "rel")`, "f:15: spec.volumes[2].hostPath.type: must be one of",
			`f:16: spec.volumes[3].hostPath.path: must not contain '..' (got "/a/../b")`, "f:17: spec.volumes[4].hostPath.path: must be set",
			`f:18: spec.volumes[5].emptyDir.sizeLimit: must not be negative (got "-1")`, `f:18: spec.volumes[5].emptyDir.medium: must be one of "", "Memory" (got "Tape")`,
			`f:19: spec.volumes[6].downwardAPI.items[0].path: must be a relative path (got "/x")`, "f:19: spec.volumes[6].downwardAPI.items[0].fieldRef: must be set: or resourceFieldRef",
			"f:19: spec.volumes[6].downwardAPI.items[1].path: must be set", "f:19: spec.volumes[6].downwardAPI.items[1].fieldRef.fieldPath: must be one of",
			"f:19: spec.volumes[6].downwardAPI.items[2].resourceFieldRef.containerName: must be set",
			"f:19: spec.volumes[6].downwardAPI.defaultMode: must be between 0 and 0777 (octal), that is 511 (decimal) (got 512)",
			"f:20: spec.volumes[7].image.pullPolicy: must be one of", "f:20: spec.volumes[7].image.reference: must be set", "f:21: spec.volumes[8].name: must be set",
			"f:22: spec.volumes[9].projected.sources[0].downwardAPI.items[0].mode: must be between", "f:22: spec.volumes[9].projected.sources[0].downwardAPI.items[0]: fieldRef and resourceFieldRef exclude each other",
			`f:9: spec.containers[0].volumeMounts[0].name: must be the name of a volume in spec.volumes, that is one of , a, b, c, d, e, f, g, h (got "typo")`,
			`f:10: spec.containers[0].volumeMounts[1].mountPath: is given twice (got "/a")`,
			`f:10: spec.containers[0].volumeMounts[1].subPath: must not contain '..' (got "../x")`, `f:10: spec.containers[0].volumeMounts[1].subPathExpr: must be a relative path (got "/y")`,
			"f:10: spec.containers[0].volumeMounts[1].subPathExpr: subPath and subPathExpr exclude each other", "f:10: spec.containers[0].volumeMounts[1].mountPropagation: must be one of",
			"f:11: spec.containers[0].volumeMounts[2].name: must be set", "f:11: spec.containers[0].volumeMounts[2].mountPath: must be set",
		}},
		"mount without volumes": {withSpec("  containers: [{name: c, image: 'i:v1', volumeMounts: [{name: v, mountPath: /v}]}]\n"), []string{
			`f:5: spec.containers[0].volumeMounts[0].name: must be the name of a volume; spec.volumes has none (got "v")`,
		}},
		"resources": {withSpec(`  containers:
  - name: c
    image: i:v1
    resources:
      limits: {memory: "-1", cpu: 1}
      requests: {cpu: 2, gold: 1, "x/y z": 1, vendor.example/device: 1}
      claims: [{name: x}]
`), []string{
			`f:9: spec.containers[0].resources.limits[memory]: must not be negative (got "-1")`,
			`f:10: spec.containers[0].resources.requests[gold]: must be cpu, memory, ephemeral-storage, hugepages-SIZE or a qualified name such as vendor.example/device (got "gold")`,
			"f:10: spec.containers[0].resources.requests[x/y z]: name part must consist of",
			`f:10: spec.containers[0].resources.requests[cpu]: must not be more than the limit, which is 1 (got "2")`,
			"f:11: spec.containers[0].resources.claims[0]: a static Pod may not refer to a resource claim, or to any other object of the API",
		}},
		"probes and hooks": {withSpec(`  containers:
  - name: c
    image: i:v1
    livenessProbe: {successThreshold: 2, periodSeconds: -1, terminationGracePeriodSeconds: 0, httpGet: {port: 0, scheme: FTP}}
    readinessProbe: {terminationGracePeriodSeconds: 1, exec: {}, tcpSocket: {port: no-such-port-name}}
    startupProbe: {}
    lifecycle: {postStart: {sleep: {seconds: -1}}, preStop: {}}
`), []string{
			"f:8: spec.containers[0].livenessProbe.httpGet.port: must be between 1 and 65535 (got 0)",
			`f:8: spec.containers[0].livenessProbe.httpGet.scheme: must be one of "HTTP", "HTTPS" (got "FTP")`,
			"f:8: spec.containers[0].livenessProbe.periodSeconds: must not be negative (got -1)", "f:8: spec.containers[0].livenessProbe.successThreshold: must be 1 (got 2)",
			"f:8: spec.containers[0].livenessProbe.terminationGracePeriodSeconds: must be at least 1 (got 0)",
			"f:9: spec.containers[0].readinessProbe.exec.command: must be set", "f:9: spec.containers[0].readinessProbe.tcpSocket.port: must be no more than 15 characters",
			"f:9: spec.containers[0].readinessProbe: must have one handler only", "f:9: spec.containers[0].readinessProbe.terminationGracePeriodSeconds: a readiness probe ends nothing",
			"f:10: spec.containers[0].startupProbe: must be set: must have a handler",
			"f:11: spec.containers[0].lifecycle.postStart.sleep.seconds: must not be negative (got -1)", "f:11: spec.containers[0].lifecycle.preStop: must be set: must have a handler",
		}},
		"restart rules": {withSpec(`  initContainers:
  - {name: s, image: "i:v1", restartPolicy: Always, readinessProbe: {tcpSocket: {port: 1}}, restartPolicyRules: [{action: Restart, exitCodes: {operator: In, values: [1]}}]}
  containers:
  - {name: c, image: "i:v1", restartPolicyRules: [{action: Explode}, {action: Restart, exitCodes: {operator: Near, values: []}}]}
  - {name: d, image: "i:v1", restartPolicy: Never, restartPolicyRules: [{action: Restart, exitCodes: {operator: In, values: [256]}}]}
`), []string{
			"f:6: spec.initContainers[0].restartPolicyRules: needs a restartPolicy of the container, and may not be given for a sidecar",
			"f:8: spec.containers[0].restartPolicyRules: needs a restartPolicy of the container",
			`f:8: spec.containers[0].restartPolicyRules[0].action: must be one of "Restart", "RestartAllContainers" (got "Explode")`,
			"f:8: spec.containers[0].restartPolicyRules[0].exitCodes: must be set",
			`f:8: spec.containers[0].restartPolicyRules[1].exitCodes.operator: must be one of "In", "NotIn" (got "Near")`,
			"f:8: spec.containers[0].restartPolicyRules[1].exitCodes.values: must be between 1 and 255 codes (got 0)",
			"f:9: spec.containers[1].restartPolicyRules[0].exitCodes.values[0]: must be between 0 and 255 (got 256)",
		}},
		"objects of the API": {withSpec(`  serviceAccountName: default
  serviceAccount: default
  imagePullSecrets: [{name: s}]
  resourceClaims: [{name: r}]
  initContainers: [{name: i, image: "i:v1", envFrom: [{secretRef: {name: s}}]}]
  containers:
  - name: c
    image: i:v1
    envFrom: [{configMapRef: {name: m}}]
    env: [{name: A, valueFrom: {secretKeyRef: {name: s, key: k}}}, {name: B, valueFrom: {configMapKeyRef: {name: s, key: k}}}]
  volumes:
  - {name: a, configMap: {name: m}}
  - {name: b, secret: {secretName: s}}
  - {name: d, persistentVolumeClaim: {claimName: p}}
  - {name: e, ephemeral: {}}
  - {name: f, csi: {driver: d}}
  - {name: g, projected: {sources: [{configMap: {name: m}}, {secret: {name: s}}, {serviceAccountToken: {path: t}}, {clusterTrustBundle: {path: t}}, {podCertificate: {keyType: ED25519, signerName: a/b}}]}}
`), func() []string {
			var want []string
			for _, w := range []string{
				"5: spec.serviceAccountName|service account", "6: spec.serviceAccount|service account", "7: spec.imagePullSecrets[0]|secret",
				"8: spec.resourceClaims[0]|resource claim", "9: spec.initContainers[0].envFrom[0].secretRef|secret",
				"13: spec.containers[0].envFrom[0].configMapRef|config map", "14: spec.containers[0].env[0].valueFrom.secretKeyRef|secret",
				"14: spec.containers[0].env[1].valueFrom.configMapKeyRef|config map", "16: spec.volumes[0].configMap|config map",
				"17: spec.volumes[1].secret|secret", "18: spec.volumes[2].persistentVolumeClaim|persistent volume claim",
				"19: spec.volumes[3].ephemeral|persistent volume claim", "20: spec.volumes[4].csi|CSI driver",
				"21: spec.volumes[5].projected.sources[0].configMap|config map", "21: spec.volumes[5].projected.sources[1].secret|secret",
				"21: spec.volumes[5].projected.sources[2].serviceAccountToken|service account",
				"21: spec.volumes[5].projected.sources[3].clusterTrustBundle|cluster trust bundle", "21: spec.volumes[5].projected.sources[4].podCertificate|signer",
			} {
				at, kind, _ := strings.Cut(w, "|")
				want = append(want, "f:"+at+": a static Pod may not refer to a "+kind+", or to any other object of the API")
			}
			return want
		}()},
	} {
		t.Run(name, func(t *testing.T) {
			pod, problems := source.Decode("f", []byte(tc.text), "node")
			if pod != nil {
				t.Fatal("a Pod with problems was accepted")
			}
			var got []string
			for i, p := range problems {
				text := p.Error()
				// Kubernetes' own texts are long and theirs: their beginning is enough.
				if i < len(tc.want) && strings.HasPrefix(text, tc.want[i]) {
					text = tc.want[i]
				}
				got = append(got, text)
			}
			if d := cmp.Diff(tc.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

// Whatever a file holds, it is a Pod that the API would take, or there is a problem with it; never a panic.
func FuzzDecode(f *testing.F) {
	files, err := filepath.Glob("../../deploy/examples/manifests*/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(minimal))
	f.Add([]byte(`{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p"},"spec":{"containers":[{"name":"c","image":"i","livenessProbe":{}}],"volumes":[null]}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		pod, problems := source.Decode("f", data, "node")
		switch {
		case pod == nil && len(problems) == 0:
			t.Error("neither a Pod nor a problem")
		case pod != nil && len(problems) > 0:
			t.Error("a Pod and problems")
		case pod != nil && (pod.UID == "" || !strings.HasSuffix(pod.Name, "-node") || len(pod.Spec.Containers) == 0):
			t.Errorf("not a static Pod: %+v", pod)
		}
		for _, p := range problems {
			if p.File != "f" || p.Message == "" || p.Line < 0 {
				t.Errorf("not a problem: %+v", p)
			}
		}
	})
}
