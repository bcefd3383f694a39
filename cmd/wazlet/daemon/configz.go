package daemon

import (
	"strconv"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wazlet/wazlet/cmd/wazlet/config"
	"github.com/wazlet/wazlet/kube/node"
	"github.com/wazlet/wazlet/kube/stats"
)

// kubeletConfiguration is the part of kubelet.config.k8s.io/v1beta1 KubeletConfiguration that has a meaning here, under
// the same names. The type itself says something about every field, most of it untrue of this node, and links another 51
// packages.
type kubeletConfiguration struct {
	metav1.TypeMeta `json:",inline"`

	EnableServer                     bool                  `json:"enableServer"`
	StaticPodPath                    string                `json:"staticPodPath,omitempty"`
	PodLogsDir                       string                `json:"podLogsDir"`
	Address                          string                `json:"address"`
	Port                             int                   `json:"port"`
	TLSCertFile                      string                `json:"tlsCertFile,omitempty"`
	TLSPrivateKeyFile                string                `json:"tlsPrivateKeyFile,omitempty"`
	RotateCertificates               bool                  `json:"rotateCertificates"`
	ServerTLSBootstrap               bool                  `json:"serverTLSBootstrap"`
	Authentication                   kubeletAuthentication `json:"authentication"`
	Authorization                    map[string]string     `json:"authorization"`
	EnableDebuggingHandlers          bool                  `json:"enableDebuggingHandlers"`
	EnableSystemLogHandler           bool                  `json:"enableSystemLogHandler"`
	EnableSystemLogQuery             bool                  `json:"enableSystemLogQuery"`
	HealthzPort                      int                   `json:"healthzPort"`
	HealthzBindAddress               string                `json:"healthzBindAddress"`
	ImageGCHighThresholdPercent      int                   `json:"imageGCHighThresholdPercent"`
	ImageGCLowThresholdPercent       int                   `json:"imageGCLowThresholdPercent"`
	VolumeStatsAggPeriod             metav1.Duration       `json:"volumeStatsAggPeriod"`
	MaxPods                          int                   `json:"maxPods"`
	PodCIDR                          string                `json:"podCIDR,omitempty"`
	KubeAPIQPS                       int                   `json:"kubeAPIQPS"`
	KubeAPIBurst                     int                   `json:"kubeAPIBurst"`
	SerializeImagePulls              bool                  `json:"serializeImagePulls"`
	MaxParallelImagePulls            int                   `json:"maxParallelImagePulls"`
	EvictionHard                     map[string]string     `json:"evictionHard"`
	EvictionPressureTransitionPeriod metav1.Duration       `json:"evictionPressureTransitionPeriod"`
	ContainerLogMaxSize              string                `json:"containerLogMaxSize"`
	ContainerLogMaxFiles             int                   `json:"containerLogMaxFiles"`
	KubeReserved                     map[string]string     `json:"kubeReserved,omitempty"`
	Logging                          map[string]string     `json:"logging"`
	RegisterWithTaints               []corev1.Taint        `json:"registerWithTaints"`
	RegisterNode                     bool                  `json:"registerNode"`
	CrashLoopBackOff                 map[string]string     `json:"crashLoopBackOff"`
	ContainerRuntimeEndpoint         string                `json:"containerRuntimeEndpoint"`
}

type kubeletAuthentication struct {
	X509      map[string]string `json:"x509"`
	Webhook   map[string]bool   `json:"webhook"`
	Anonymous map[string]bool   `json:"anonymous"`
}

// configZ is what tools read on the kubelet's port; our own configuration is on the debug endpoint.
func configZ(c *config.NodeConfiguration) map[string]any {
	k := kubeletConfiguration{
		EnableServer: true, StaticPodPath: c.ManifestDir, PodLogsDir: c.PodLogsDir,
		Address: c.KubeletServer.Address, Port: c.KubeletServer.Port,
		TLSCertFile: c.KubeletServer.ServingCertificate.CertFile, TLSPrivateKeyFile: c.KubeletServer.ServingCertificate.KeyFile,
		RotateCertificates: true, ServerTLSBootstrap: c.KubeletServer.ServingCertificate.Mode == "csr",
		Authentication: kubeletAuthentication{
			X509: map[string]string{"clientCAFile": c.KubeletServer.ClientCAFile}, Webhook: map[string]bool{"enabled": true},
			Anonymous: map[string]bool{"enabled": false},
		},
		Authorization: map[string]string{"mode": "Webhook"}, EnableDebuggingHandlers: true,
		EnableSystemLogHandler: c.KubeletServer.SystemLogs.Enabled, EnableSystemLogQuery: c.KubeletServer.SystemLogs.Query,
		HealthzPort: c.Debug.Port, HealthzBindAddress: c.Debug.Address,
		ImageGCHighThresholdPercent: c.Images.GC.HighPercent, ImageGCLowThresholdPercent: c.Images.GC.LowPercent,
		VolumeStatsAggPeriod: metav1.Duration{Duration: stats.WalkPeriod}, MaxPods: c.MaxPods, PodCIDR: c.PodCIDR,
		KubeAPIQPS: apiQPS, KubeAPIBurst: apiBurst,
		SerializeImagePulls: c.Images.MaxParallelPulls == 1, MaxParallelImagePulls: c.Images.MaxParallelPulls,
		EvictionHard: node.DefaultThresholds(), EvictionPressureTransitionPeriod: metav1.Duration{Duration: node.PressureTransition},
		ContainerLogMaxSize: strconv.Itoa(logMaxBytes), ContainerLogMaxFiles: logMaxFiles,
		KubeReserved: map[string]string{}, Logging: map[string]string{"format": string(c.Logging.Format)},
		RegisterWithTaints: c.RegisterWithTaints, RegisterNode: true,
		CrashLoopBackOff: map[string]string{"maxContainerRestartPeriod": c.Supervision.Module.Backoff.Max.Duration.String()},
	}
	k.APIVersion, k.Kind = "kubelet.config.k8s.io/v1beta1", "KubeletConfiguration"
	for name, q := range c.Reserved {
		k.KubeReserved[string(name)] = q.String()
	}
	return map[string]any{"kubeletconfig": k}
}
