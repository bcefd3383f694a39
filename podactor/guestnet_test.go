package podactor

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wazlet/wazlet/moduleactor/egress"
)

func netConfig(t *testing.T, resolvConf string) Config {
	t.Helper()
	file := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(file, []byte(resolvConf), 0o600); err != nil {
		t.Fatal(err)
	}
	deny, err := egress.ParseList("127.0.0.0/8 169.254.0.0/16")
	if err != nil {
		t.Fatal(err)
	}
	return Config{
		DNS:    DNS{Cluster: []netip.Addr{netip.MustParseAddr("10.96.0.10")}, Domain: "cluster.local", ResolvConf: file},
		Egress: Egress{Allow: []egress.Rule{egress.Everything()}, Deny: deny},
	}
}

func TestNetworkOf(t *testing.T) {
	five := "5"
	const host = "search corp.example\nnameserver 127.0.0.53\n"
	for name, tc := range map[string]struct {
		ip   string
		pod  corev1.Pod
		want string // JSON without what all have
	}{
		"the cluster's names first": {
			"10.244.0.7",
			corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns"}},
			`{"egress":{"own":["10.244.0.7"],"always":["10.96.0.10:53"]},"dns":{"nameservers":["10.96.0.10"],"search":["ns.svc.cluster.local","svc.cluster.local","cluster.local","corp.example"],"ndots":5}}`,
		},
		"the host's": {
			"10.244.0.7",
			corev1.Pod{Spec: corev1.PodSpec{DNSPolicy: corev1.DNSDefault}},
			`{"egress":{"own":["10.244.0.7"],"always":["127.0.0.53:53"]},"dns":{"nameservers":["127.0.0.53"],"search":["corp.example"]}}`,
		},
		"on the host's network": {
			"",
			corev1.Pod{Spec: corev1.PodSpec{DNSPolicy: corev1.DNSClusterFirst, HostNetwork: true}},
			`{"egress":{"own":["192.0.2.9"],"always":["127.0.0.53:53"]},"dns":{"nameservers":["127.0.0.53"],"search":["corp.example"]}}`,
		},
		"the Pod's own": {
			"10.244.0.7",
			corev1.Pod{Spec: corev1.PodSpec{DNSPolicy: corev1.DNSNone, DNSConfig: &corev1.PodDNSConfig{
				Nameservers: []string{"192.0.2.53"}, Searches: []string{"a.example."}, Options: []corev1.PodDNSConfigOption{{Name: "ndots", Value: &five}},
			}}},
			`{"egress":{"own":["10.244.0.7"],"always":["192.0.2.53:53"]},"dns":{"nameservers":["192.0.2.53"],"search":["a.example"],"ndots":5}}`,
		},
		"what it asks for": {
			"10.244.0.7",
			corev1.Pod{
				ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{egress.Annotation: "*.example:443"}},
				Spec:       corev1.PodSpec{DNSPolicy: corev1.DNSNone},
			},
			`{"egress":{"own":["10.244.0.7"],"ask":["*.example:443"]},"dns":{}}`,
		},
		"without an address": {"", corev1.Pod{}, `null`},
	} {
		t.Run(name, func(t *testing.T) {
			n, err := surroundings{cfg: netConfig(t, host), pod: &tc.pod, podIP: tc.ip, hostIP: "192.0.2.9"}.network()
			if err != nil {
				t.Fatal(err)
			}
			got, err := json.Marshal(n)
			if err != nil {
				t.Fatal(err)
			}
			text := strings.Replace(string(got), `,"allow":["*"],"deny":["127.0.0.0/8","169.254.0.0/16"]`, "", 1)
			if d := cmp.Diff(tc.want, text); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestNetworkOfRefuses(t *testing.T) {
	x := "x"
	for name, tc := range map[string]struct {
		pod  corev1.Pod
		want string
	}{
		"the annotation": {
			corev1.Pod{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{egress.Annotation: "a:b"}}},
			`annotation wazlet.dev/allowed-egress: rule "a:b": port "b": want a number from 1 to 65535`,
		},
		"a name server that no Pod may reach": {
			corev1.Pod{Spec: corev1.PodSpec{DNSConfig: &corev1.PodDNSConfig{Nameservers: []string{"127.0.0.1"}}}},
			"spec.dnsConfig.nameservers[0]: connection to 127.0.0.1:53 refused: the node's egress.deny has 127.0.0.0/8",
		},
		"an address that the node has not": {corev1.Pod{Spec: corev1.PodSpec{HostNetwork: true}}, "host IP unknown: the node has no address yet"},
		"ndots": {
			corev1.Pod{Spec: corev1.PodSpec{DNSConfig: &corev1.PodDNSConfig{Options: []corev1.PodDNSConfigOption{{Name: "ndots", Value: &x}}}}},
			`spec.dnsConfig.options: ndots must be a number (got "x")`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			n, err := surroundings{cfg: netConfig(t, ""), pod: &tc.pod, podIP: "10.244.0.7"}.network()
			if err == nil || err.Error() != tc.want {
				t.Errorf("%+v, %v, want %s", n, err, tc.want)
			}
		})
	}
}

// Who chooses the name server, or hostAliases, chooses what names stand for: those that the node allows must come from its own.
func TestPodsCannotNameWhatTheNodeAllows(t *testing.T) {
	const aliases = "aliases"
	for server, want := range map[string]string{
		"": "[10.0.0.0/8 *.good.example]", "10.96.0.10": "[10.0.0.0/8 *.good.example]", "10.1.2.3": "[10.0.0.0/8]", aliases: "[10.0.0.0/8]",
	} {
		cfg := netConfig(t, "")
		var err error
		if cfg.Egress.Allow, err = egress.ParseList("10.0.0.0/8 *.good.example"); err != nil {
			t.Fatal(err)
		}
		pod := corev1.Pod{Spec: corev1.PodSpec{DNSPolicy: corev1.DNSNone}}
		switch server {
		case "":
		case aliases:
			pod.Spec.HostAliases = []corev1.HostAlias{{IP: "10.1.2.3", Hostnames: []string{"www.good.example"}}}
		default:
			pod.Spec.DNSConfig = &corev1.PodDNSConfig{Nameservers: []string{server}}
		}
		n, err := surroundings{cfg: cfg, pod: &pod, podIP: "10.244.0.7"}.network()
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(n.Egress.Allow); got != want {
			t.Errorf("name server %q: allowed is %s, want %s", server, got, want)
		}
		if len(cfg.Egress.Allow) != 2 || !cfg.Egress.Allow[1].ByName() {
			t.Errorf("the node's rules have become %v", cfg.Egress.Allow)
		}
	}
}
