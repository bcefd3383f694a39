//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The real metrics-server reads our node: kubectl top prints numbers, and an autoscaler acts on them.
func TestMetricsServer(t *testing.T) {
	c := newControlPlane(t, "")
	c.startMetricsServer()
	c.create(c.burner())
	c.must("rollout", "status", "deployment/burner", "--timeout=110s")
	c.await("kubectl top pods to show what the guest burns", func() error {
		return c.top(regexp.MustCompile(`(?m)^burner-\S+ +main +[1-9]\d*m +[1-9]\d*Mi`), "pods", "--containers")
	})
	c.await("kubectl top nodes to show the node", func() error {
		return c.top(regexp.MustCompile(`(?m)^edge +[1-9]\d*m +\d+% +[1-9]\d*Mi +\d+%`), "nodes")
	})
	most, target := int32(2), int32(50)
	c.create(autoscalingv2.HorizontalPodAutoscaler{
		TypeMeta:   metav1.TypeMeta{APIVersion: "autoscaling/v2", Kind: "HorizontalPodAutoscaler"},
		ObjectMeta: metav1.ObjectMeta{Name: "burner"},
		Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: "burner"},
			MaxReplicas:    most,
			Metrics: []autoscalingv2.MetricSpec{{Type: autoscalingv2.ResourceMetricSourceType, Resource: &autoscalingv2.ResourceMetricSource{
				Name: corev1.ResourceCPU, Target: autoscalingv2.MetricTarget{Type: autoscalingv2.UtilizationMetricType, AverageUtilization: &target},
			}}},
		},
	})
	c.await("the autoscaler to scale up", func() error {
		out, err := c.kubectl("get", "deployment", "burner", "-o", "jsonpath={.status.readyReplicas}")
		if err == nil && out != "2" {
			status, _ := c.kubectl("describe", "hpa", "burner")
			err = errors.New("not yet: " + status)
		}
		return because(err, out)
	})
}

// burner is a Deployment of one Pod that always wants more of a processor than it may have.
func (c *controlPlane) burner() any {
	d := deployment("burner", 1, "spin")
	d.Spec.Replicas = nil // the autoscaler's
	d.Spec.Template.Spec.Containers[0].Resources = corev1.ResourceRequirements{
		Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("50m")},
		Limits:   corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("150m")},
	}
	return d
}

func (c *controlPlane) top(want *regexp.Regexp, args ...string) error {
	out, err := c.kubectl(append([]string{"top"}, args...)...)
	if err == nil && !want.MatchString(out) {
		err = fmt.Errorf("nothing matches %s", want)
	}
	return because(err, out)
}

// startMetricsServer runs metrics-server beside the node, with a service account's token and no more rights than in any
// cluster.
func (c *controlPlane) startMetricsServer() {
	c.t.Helper()
	c.must("apply", "-f", filepath.Join("..", "..", "..", "deploy", "devcluster", "metricsserver", "metrics-server.yaml"))
	dir := c.t.TempDir()
	kubeconfig := filepath.Join(dir, "kubeconfig")
	text := c.must("config", "view", "--raw", "--minify", "--flatten", "-o",
		`jsonpath={.clusters[0].cluster.server} {.clusters[0].cluster.certificate-authority-data}`)
	server, ca, _ := strings.Cut(text, " ")
	token := strings.TrimSpace(c.must("create", "token", "metrics-server", "-n", "kube-system"))
	write(c.t, kubeconfig, fmt.Sprintf(`{apiVersion: v1, kind: Config, current-context: c,
clusters: [{name: c, cluster: {server: %q, certificate-authority-data: %q}}],
users: [{name: u, user: {token: %q}}], contexts: [{name: c, context: {cluster: c, user: u}}]}`, server, ca, token))
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		c.t.Fatal(err)
	}
	line := append(slices.Clone(c.inside), filepath.Join(bin, "metrics-server"),
		"--kubeconfig="+kubeconfig, "--authentication-kubeconfig="+kubeconfig, "--authorization-kubeconfig="+kubeconfig,
		"--bind-address=10.99.0.9", "--secure-port=4443", "--cert-dir="+dir, "--metric-resolution=10s", "--kubelet-request-timeout=5s",
		"--kubelet-preferred-address-types=InternalIP", "--kubelet-use-node-status-port",
		"--kubelet-certificate-authority="+filepath.Join(c.dir, "pki", "ca.crt"))
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, line[0], line[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGKILL) }
	if err := cmd.Start(); err != nil {
		cancel()
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() {
		cancel()
		_ = cmd.Wait()
		_ = log.Close()
		if c.t.Failed() {
			text, _ := os.ReadFile(log.Name())
			c.t.Logf("metrics-server:\n%s", text)
		}
	})
	c.must("wait", "--for=condition=Available", "apiservice/v1beta1.metrics.k8s.io", "--timeout=110s")
}
