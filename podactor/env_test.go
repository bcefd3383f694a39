package podactor

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"sigs.k8s.io/yaml"
)

func parseContainer(t *testing.T, manifest string) *corev1.Container {
	t.Helper()
	c := &corev1.Container{Name: "c"}
	if err := yaml.UnmarshalStrict([]byte(manifest), c); err != nil {
		t.Fatal(err)
	}
	return c
}

func service(name, ip string, ports ...corev1.ServicePort) *corev1.Service {
	s := &corev1.Service{}
	s.Name, s.Spec.ClusterIP, s.Spec.Ports = name, ip, ports
	return s
}

func clusterPod() (*corev1.Pod, *fakeObjects) {
	pod := onePod("c")
	cm := &corev1.ConfigMap{Data: map[string]string{"A": "cm-a", "b.c": "$(A)", "SHARED": "cm"}}
	secret := &corev1.Secret{Data: map[string][]byte{"KEY": []byte("hidden"), "SHARED": []byte("secret"), "BIN": {'x', 0}}}
	return pod, &fakeObjects{
		configMaps: map[string]*corev1.ConfigMap{"ns/cm": cm}, secrets: map[string]*corev1.Secret{"ns/s": secret},
		services: map[string][]*corev1.Service{},
	}
}

func TestEnvironmentOfACluster(t *testing.T) {
	for name, c := range map[string]struct {
		manifest string
		want     []string
	}{
		"config map key":    {`env: [{name: V, valueFrom: {configMapKeyRef: {name: cm, key: A}}}]`, []string{"V=cm-a"}},
		"secret key":        {`env: [{name: V, valueFrom: {secretKeyRef: {name: s, key: KEY}}}]`, []string{"V=hidden"}},
		"optional object":   {`env: [{name: V, valueFrom: {configMapKeyRef: {name: none, key: A, optional: true}}}, {name: W, valueFrom: {secretKeyRef: {name: none, key: A, optional: true}}}]`, []string{}},
		"optional key":      {`env: [{name: V, valueFrom: {configMapKeyRef: {name: cm, key: none, optional: true}}}, {name: W, valueFrom: {secretKeyRef: {name: s, key: none, optional: true}}}]`, []string{}},
		"all keys":          {`envFrom: [{configMapRef: {name: cm}}]`, []string{"A=cm-a", "SHARED=cm", "b.c=$(A)"}},
		"prefix":            {`envFrom: [{prefix: P_, configMapRef: {name: cm}}]`, []string{"P_A=cm-a", "P_SHARED=cm", "P_b.c=$(A)"}},
		"optional envFrom":  {`envFrom: [{configMapRef: {name: none, optional: true}}, {secretRef: {name: none, optional: true}}]`, []string{}},
		"env overrides":     {"envFrom: [{configMapRef: {name: cm}}]\nenv: [{name: A, value: own}]", []string{"A=own", "SHARED=cm", "b.c=$(A)"}},
		"expansion":         {"envFrom: [{prefix: P_, configMapRef: {name: cm}}]\nenv: [{name: X, value: $(P_A)-$(NO)-$$(P_A)}, {name: YY, value: $(X)}, {name: P_SHARED, value: yy}, {name: P_b.c, value: z}]", []string{"P_A=cm-a", "P_SHARED=yy", "P_b.c=z", "X=cm-a-$(NO)-$(P_A)", "YY=cm-a-$(NO)-$(P_A)"}},
		"a ref is verbatim": {`env: [{name: A, value: x}, {name: V, valueFrom: {configMapKeyRef: {name: cm, key: b.c}}}]`, []string{"A=x", "V=$(A)"}},
		"resources":         {"resources: {limits: {memory: 3Mi}, requests: {cpu: 1500m}}\nenv: [{name: M, valueFrom: {resourceFieldRef: {resource: limits.memory, divisor: 2Mi}}}, {name: C, valueFrom: {resourceFieldRef: {resource: requests.cpu}}}, {name: D, valueFrom: {resourceFieldRef: {resource: limits.cpu, divisor: 1m}}}]", []string{"M=2", "C=2", "D=4000"}},
	} {
		t.Run(name, func(t *testing.T) {
			pod, objects := clusterPod()
			pod.Spec.Containers[0] = *parseContainer(t, c.manifest)
			around := surroundings{objects: objects, pod: pod, allocatable: func() corev1.ResourceList {
				return corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("4")}
			}}
			e, err := newEnvironment(t.Context(), around, &pod.Spec.Containers[0])
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(c.want, e.list()); d != "" {
				t.Errorf("environment (-want +got):\n%s", d)
			}
			if objects.reads > 2 {
				t.Errorf("%d reads for at most two objects", objects.reads)
			}
		})
	}
}

// The words are the kubelet's: users search for them.
func TestMissingReferences(t *testing.T) {
	for manifest, want := range map[string]string{
		`env: [{name: V, valueFrom: {configMapKeyRef: {name: none, key: A}}}]`:                      `configmap "none" not found`,
		`env: [{name: V, valueFrom: {configMapKeyRef: {name: cm, key: none}}}]`:                     "couldn't find key none in ConfigMap ns/cm",
		`env: [{name: V, valueFrom: {secretKeyRef: {name: none, key: A}}}]`:                         `secret "none" not found`,
		`env: [{name: V, valueFrom: {secretKeyRef: {name: s, key: none}}}]`:                         "couldn't find key none in Secret ns/s",
		`envFrom: [{configMapRef: {name: none}}]`:                                                   `configmap "none" not found`,
		`envFrom: [{secretRef: {name: none}}]`:                                                      `secret "none" not found`,
		`envFrom: [{secretRef: {name: s}}]`:                                                         `environment variable "BIN": contains a NUL byte`,
		`env: [{name: V, valueFrom: {fileKeyRef: {volumeName: v, path: p}}}]`:                       "env[0].valueFrom.fileKeyRef: not supported by this node",
		`env: [{name: V, valueFrom: {resourceFieldRef: {resource: limits.gpu}}}]`:                   `env[0].valueFrom.resourceFieldRef.resource: want limits. or requests.`,
		`env: [{name: V, valueFrom: {resourceFieldRef: {resource: limits.cpu}}}]`:                   "what the node can give is not known",
		`env: [{name: V, valueFrom: {resourceFieldRef: {containerName: x, resource: limits.cpu}}}]`: `containerName: the Pod has no container "x"`,
		`env: [{name: V, valueFrom: {}}]`:                                                           "env[0].valueFrom: no source is given",
		`env: [{name: V, valueFrom: {fieldRef: {fieldPath: status.podIP}}}]`:                        "status.podIP: the Pod has no address",
	} {
		pod, objects := clusterPod()
		pod.Spec.Containers[0] = *parseContainer(t, manifest)
		_, err := resolveSpec(t.Context(), surroundings{objects: objects, pod: pod}, "c", false)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\n%v, want %q", manifest, err, want)
		}
	}
}

// An API server that cannot be asked is never taken for the absence of an optional object.
func TestOptionalIsNotUnknown(t *testing.T) {
	pod, objects := clusterPod()
	objects.err = errors.New("timed out")
	for _, manifest := range []string{
		`envFrom: [{configMapRef: {name: cm, optional: true}}]`, `envFrom: [{secretRef: {name: s, optional: true}}]`,
		`env: [{name: V, valueFrom: {secretKeyRef: {name: s, key: KEY, optional: true}}}]`,
	} {
		if _, err := newEnvironment(t.Context(), surroundings{objects: objects, pod: pod}, parseContainer(t, manifest)); !errors.Is(err, objects.err) {
			t.Errorf("%s: error %v", manifest, err)
		}
	}
	reads := objects.reads
	if _, err := resolveSpec(t.Context(), surroundings{objects: objects, pod: pod}, "c", true); err != nil || objects.reads != reads {
		t.Errorf("taking over a running guest asks the API server: %v, %d reads", err, objects.reads-reads)
	}
}

func TestServiceVariables(t *testing.T) {
	no := false
	udp := corev1.ServicePort{Name: "dns-udp", Port: 53, Protocol: corev1.ProtocolUDP}
	all := map[string][]*corev1.Service{
		"default": {service("kubernetes", "10.0.0.1", corev1.ServicePort{Name: "https", Port: 443}), service("other", "10.0.0.2", corev1.ServicePort{Port: 1})},
		"ns": {
			service("my-db", "10.0.0.3", corev1.ServicePort{Port: 5432}, udp), service("headless", corev1.ClusterIPNone, udp),
			service("external", ""), service("kubernetes", "10.6.6.6", udp),
		},
	}
	api := []string{
		"KUBERNETES_PORT=tcp://10.0.0.1:443", "KUBERNETES_PORT_443_TCP=tcp://10.0.0.1:443", "KUBERNETES_PORT_443_TCP_ADDR=10.0.0.1",
		"KUBERNETES_PORT_443_TCP_PORT=443", "KUBERNETES_PORT_443_TCP_PROTO=tcp", "KUBERNETES_SERVICE_HOST=10.0.0.1",
		"KUBERNETES_SERVICE_PORT=443", "KUBERNETES_SERVICE_PORT_HTTPS=443",
	}
	links := []string{
		"MY_DB_PORT=tcp://10.0.0.3:5432", "MY_DB_PORT_53_UDP=udp://10.0.0.3:53", "MY_DB_PORT_53_UDP_ADDR=10.0.0.3",
		"MY_DB_PORT_53_UDP_PORT=53", "MY_DB_PORT_53_UDP_PROTO=udp", "MY_DB_PORT_5432_TCP=tcp://10.0.0.3:5432",
		"MY_DB_PORT_5432_TCP_ADDR=10.0.0.3", "MY_DB_PORT_5432_TCP_PORT=5432", "MY_DB_PORT_5432_TCP_PROTO=tcp",
		"MY_DB_SERVICE_HOST=10.0.0.3", "MY_DB_SERVICE_PORT=5432", "MY_DB_SERVICE_PORT_DNS_UDP=53",
	}
	for name, c := range map[string]struct {
		namespace string
		links     *bool
		env       string
		want      []string
	}{
		"links":       {"ns", nil, "{}", append(append([]string{}, api...), links...)},
		"no links":    {"ns", &no, "{}", api},
		"elsewhere":   {"empty", nil, "{}", api},
		"own is more": {"empty", nil, `env: [{name: KUBERNETES_SERVICE_HOST, value: x}, {name: E, value: $(KUBERNETES_PORT)}]`, append([]string{"KUBERNETES_SERVICE_HOST=x", "E=tcp://10.0.0.1:443"}, append(append([]string{}, api[:5]...), api[6:]...)...)},
	} {
		t.Run(name, func(t *testing.T) {
			pod, objects := clusterPod()
			pod.Namespace, pod.Spec.EnableServiceLinks, objects.services = c.namespace, c.links, all
			e, err := newEnvironment(t.Context(), surroundings{objects: objects, pod: pod}, parseContainer(t, c.env))
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(c.want, e.list()); d != "" {
				t.Errorf("environment (-want +got):\n%s", d)
			}
		})
	}
}

// A Pod of the API server waits for the Services; a static one starts without them.
func TestServicesAreNotThereYet(t *testing.T) {
	pod, objects := clusterPod()
	objects.services, objects.err = nil, errors.New("not yet")
	around := surroundings{objects: objects, pod: pod}
	want := "services have not yet been read at least once, cannot construct envvars"
	if _, err := newEnvironment(t.Context(), around, &pod.Spec.Containers[0]); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want %q", err, want)
	}
	pod.Annotations = map[string]string{configSource: "file"}
	if e, err := newEnvironment(t.Context(), around, &pod.Spec.Containers[0]); err != nil || len(e.list()) > 0 {
		t.Errorf("a static Pod: %v, %v", e, err)
	}
}

func TestEnvironmentUses(t *testing.T) {
	c := parseContainer(t, `
envFrom: [{configMapRef: {name: a}}, {secretRef: {name: b}}]
env: [{name: L, value: x}, {name: V, valueFrom: {configMapKeyRef: {name: c, key: k}}}, {name: W, valueFrom: {secretKeyRef: {name: d, key: k}}}]`)
	var got []string
	for _, kind := range []string{kindConfigMap, kindSecret} {
		for _, name := range []string{"a", "b", "c", "d", "e"} {
			if environmentUses(c, kind, name) {
				got = append(got, kind+" "+name)
			}
		}
	}
	if d := cmp.Diff([]string{"ConfigMap a", "ConfigMap c", "Secret b", "Secret d"}, got); d != "" {
		t.Errorf("used (-want +got):\n%s", d)
	}
}
