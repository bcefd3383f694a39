//go:build e2e

package e2e

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// A node whose certificates live for two minutes, with the taint of Krustlet's first releases.
func TestRotation(t *testing.T) {
	t.Parallel()
	const taints = "registerWithTaints: [{key: krustlet/arch, value: wasm32-wasi, effect: NoExecute}]\n"
	newControlPlane(t, taints, "--signing-duration", "2m").run([]scene{
		{"Krustlet's manifests run unchanged", (*controlPlane).testKrustletManifests},
		{"certificates are replaced before they expire", (*controlPlane).testRotation},
	})
}

// issued lists the certificates that the node has got from a signer, oldest first.
func (c *controlPlane) issued(signer string) []*x509.Certificate {
	c.t.Helper()
	var list certificatesv1.CertificateSigningRequestList
	out := c.must("get", "csr", "-o", "json", "--sort-by=.metadata.creationTimestamp")
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		c.t.Fatal(err)
	}
	var certs []*x509.Certificate
	for _, r := range list.Items {
		block, _ := pem.Decode(r.Status.Certificate)
		if r.Spec.SignerName != signer || block == nil {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			c.t.Fatal(err)
		}
		if cert.Subject.CommonName != "system:node:edge" {
			c.t.Errorf("%s signed for %s", signer, cert.Subject)
		}
		certs = append(certs, cert)
	}
	return certs
}

func (c *controlPlane) testRotation() {
	var first []*x509.Certificate
	for _, signer := range []string{certificatesv1.KubeAPIServerClientKubeletSignerName, certificatesv1.KubeletServingSignerName} {
		c.await("a second certificate of "+signer, func() error {
			if got := len(c.issued(signer)); got < 2 {
				return fmt.Errorf("there are %d", got)
			}
			return nil
		})
		first = append(first, c.issued(signer)[0])
	}
	c.await("the node to outlive its first certificates", func() error {
		var lease struct {
			Spec struct{ RenewTime metav1.MicroTime }
		}
		if err := json.Unmarshal([]byte(c.must("get", "lease", "edge", "-n", "kube-node-lease", "-o", "json")), &lease); err != nil {
			c.t.Fatal(err)
		}
		for _, cert := range first {
			if lease.Spec.RenewTime.Before(&metav1.MicroTime{Time: cert.NotAfter}) {
				return fmt.Errorf("the lease was renewed at %s, a certificate holds until %s", lease.Spec.RenewTime, cert.NotAfter)
			}
		}
		return nil
	})
	// The API server trusts a kubelet's certificate only while it holds.
	if out := c.must("get", "--raw", "/api/v1/nodes/edge/proxy/healthz"); out != "ok" {
		c.t.Errorf("/healthz with the new certificate: %q", out)
	}
	if out := c.must("get", "node", "edge", "-o", `jsonpath={.status.conditions[?(@.type=="Ready")].status}`); out != "True" {
		c.t.Errorf("Ready is %q", out)
	}
	if age := time.Until(first[0].NotAfter); age > 0 {
		c.t.Errorf("the first certificate still holds for %s", age)
	}
}

// What Krustlet's manifests ask for, release by release: the taints they tolerate and the labels they select.
func (c *controlPlane) testKrustletManifests() {
	tolerate := func(key string, effects ...corev1.TaintEffect) (out []corev1.Toleration) {
		for _, e := range effects {
			out = append(out, corev1.Toleration{Key: key, Operator: corev1.TolerationOpEqual, Value: "wasm32-wasi", Effect: e})
		}
		return out
	}
	network := corev1.Toleration{Key: "node.kubernetes.io/network-unavailable", Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoSchedule}
	for name, tc := range map[string]struct {
		tolerations []corev1.Toleration
		selector    map[string]string
	}{
		"v0-1": {tolerate("krustlet/arch", corev1.TaintEffectNoExecute), map[string]string{"beta.kubernetes.io/arch": "wasm32-wasi"}},
		"v0-4": {append(tolerate("krustlet/arch", corev1.TaintEffectNoExecute), network), map[string]string{"kubernetes.io/arch": "wasm32-wasi"}},
	} {
		c.krustlet(name, tc.tolerations, tc.selector)
		c.must("wait", "--for=condition=Ready", "pod/"+name, "--timeout=110s")
	}
	later := tolerate("kubernetes.io/arch", corev1.TaintEffectNoSchedule, corev1.TaintEffectNoExecute)
	for name, tolerations := range map[string][]corev1.Toleration{"v0-5": later[1:], "v1-0": append(later, network)} {
		c.krustlet(name, tolerations, map[string]string{"kubernetes.io/arch": "wasm32-wasi"})
	}
	c.await("later manifests to be kept away by the taint of the first releases", func() error {
		for _, name := range []string{"v0-5", "v1-0"} {
			out := c.must("describe", "pod", name)
			if !strings.Contains(out, "untolerated taint") {
				return errors.New(out)
			}
		}
		return nil
	})
	c.must("taint", "nodes", "edge", "krustlet/arch-", "kubernetes.io/arch=wasm32-wasi:NoSchedule")
	c.must("wait", "--for=condition=Ready", "pod/v1-0", "--timeout=110s")
	if out := c.must("describe", "pod", "v0-5"); !strings.Contains(out, "untolerated taint") {
		c.t.Errorf("the manifest of 0.5 tolerates NoExecute alone:\n%s", out)
	}
	c.must("taint", "nodes", "edge", "kubernetes.io/arch:NoSchedule-", "kubernetes.io/arch=wasm32-wasi:NoExecute")
	c.must("wait", "--for=condition=Ready", "pod/v0-5", "--timeout=110s")
	c.must("delete", "pod", "v0-1", "v0-4", "v0-5", "v1-0", "--grace-period=1", "--ignore-not-found")
	c.awaitPods("app=krustlet", 0)
}

func (c *controlPlane) krustlet(name string, tolerations []corev1.Toleration, selector map[string]string) {
	p := pod(name, corev1.RestartPolicyAlways, "tick")
	p.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}
	p.Labels = map[string]string{"app": "krustlet"}
	p.Spec.Tolerations, p.Spec.NodeSelector = tolerations, selector
	c.create(p)
}
