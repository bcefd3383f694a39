package daemon

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/wazlet/wazlet/cmd/wazlet/config"
)

func TestConfigZ(t *testing.T) {
	c := config.NodeConfiguration{
		ManifestDir: "/m", MaxPods: 7, PodCIDR: "10.0.0.0/24", Reserved: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("500m")},
		Images: config.Images{MaxParallelPulls: 4, GC: config.ImageGC{HighPercent: 85, LowPercent: 80}},
	}
	c.KubeletServer.Port, c.KubeletServer.ServingCertificate.Mode = 10250, "csr"
	c.Supervision.Module.Backoff.Max.Duration = 5 * time.Minute
	data, err := json.Marshal(configZ(&c))
	if err != nil {
		t.Fatal(err)
	}
	// What kubectl plugins, node-problem-detector and benchmarks look for.
	type shape struct {
		KubeletConfig struct {
			Kind, APIVersion            string
			StaticPodPath, PodCIDR      string
			Port, MaxPods               int
			ServerTLSBootstrap          bool
			SerializeImagePulls         bool
			ImageGCHighThresholdPercent int
			EvictionHard, KubeReserved  map[string]string
			CrashLoopBackOff            map[string]string
		}
	}
	var got, want shape
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	k := &want.KubeletConfig
	k.Kind, k.APIVersion, k.StaticPodPath, k.PodCIDR = "KubeletConfiguration", "kubelet.config.k8s.io/v1beta1", "/m", "10.0.0.0/24"
	k.Port, k.MaxPods, k.ServerTLSBootstrap, k.ImageGCHighThresholdPercent = 10250, 7, true, 85
	k.EvictionHard = map[string]string{"memory.available": "100Mi", "nodefs.available": "10%", "nodefs.inodesFree": "5%", "pid.available": "5%"}
	k.KubeReserved, k.CrashLoopBackOff = map[string]string{"cpu": "500m"}, map[string]string{"maxContainerRestartPeriod": "5m0s"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
