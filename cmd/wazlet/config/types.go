// Package config is the configuration of a node: one strict, versioned YAML file, overridden by flags.
package config

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wazlet/wazlet/actors"
)

// APIVersion and Kind head every configuration file.
const (
	APIVersion = "wazlet.dev/v1alpha1"
	Kind       = "NodeConfiguration"
)

// NodeConfiguration is the file. What it does not give has the value of Default.
type NodeConfiguration struct {
	metav1.TypeMeta `json:",inline"`

	// NodeName is the name of the Node object and the suffix of static Pods' names. Default: the host name.
	NodeName string `json:"nodeName"`
	// RootDir holds everything wazlet keeps: images, compiled modules, Pods. Default: /var/lib/wazlet, for other users than
	// root $XDG_STATE_HOME/wazlet or ~/.local/state/wazlet.
	RootDir string `json:"rootDir"`
	// PodLogsDir is where containers' logs are, as log collectors expect it. Default: /var/log/pods, for other users than
	// root rootDir/log.
	PodLogsDir string `json:"podLogsDir"`
	// Kubeconfig is how to reach a cluster; empty means a standalone node.
	Kubeconfig string `json:"kubeconfig"`
	// BootstrapKubeconfig is what a kubeconfig is asked for with.
	BootstrapKubeconfig string `json:"bootstrapKubeconfig"`
	// ManifestDir is watched for static Pods; empty means none. Default: /etc/wazlet/manifests, for other users than root
	// $XDG_CONFIG_HOME/wazlet/manifests or ~/.config/wazlet/manifests.
	ManifestDir string `json:"manifestDir"`
	// NodeIP is the address that the cluster reaches this node at. Default: what its name resolves to, or the address of the
	// interface with the default route.
	NodeIP string `json:"nodeIP,omitempty"`
	// NodeLabels are added to the Node object.
	NodeLabels map[string]string `json:"nodeLabels,omitempty"`
	// RegisterWithTaints are the taints of a new Node object. Default: kubernetes.io/arch=wasm32-wasi, NoSchedule and
	// NoExecute; an empty list registers it without any.
	RegisterWithTaints []corev1.Taint `json:"registerWithTaints,omitempty"`
	// Reserved is what Pods cannot have: cpu, memory, ephemeral-storage, pods.
	Reserved corev1.ResourceList `json:"reserved,omitempty"`
	// MaxPods bounds the Pods of this node; default 250.
	MaxPods int `json:"maxPods"`
	// PodCIDR is what Pods' addresses are taken from. Default: what the Node object says, standalone 127.88.0.0/16.
	PodCIDR string `json:"podCIDR"`

	// DNS is how guests resolve names.
	DNS DNS `json:"dns"`
	// Egress bounds where guests may connect to.
	Egress Egress `json:"egress"`

	// GuestLimits bound what a guest takes of the host besides memory and CPU.
	GuestLimits GuestLimits `json:"guestLimits"`

	Isolation     Isolation          `json:"isolation"`
	Supervision   actors.Supervision `json:"supervision"`
	Images        Images             `json:"images"`
	HTTPHandlers  HTTPHandlers       `json:"httpHandlers"`
	KubeletServer KubeletServer      `json:"kubeletServer"`
	Debug         Listener           `json:"debug"`
	Logging       Logging            `json:"logging"`
}

// DNS says which name servers guests ask.
type DNS struct {
	// ClusterDNS are the addresses of the cluster's name servers, for Pods with the dnsPolicy ClusterFirst. Empty: these
	// ask the host's too.
	ClusterDNS []string `json:"clusterDNS"`
	// ClusterDomain is the domain of the cluster's Services; default cluster.local.
	ClusterDomain string `json:"clusterDomain"`
	// ResolvConf is the host's file, for Pods with the dnsPolicy Default. Default: /etc/resolv.conf.
	ResolvConf string `json:"resolvConf"`
}

// Egress bounds what Pods may ask for with the annotation wazlet.dev/allowed-egress; the rules are those of package egress.
type Egress struct {
	// Allow is what Pods may ask for; default everything.
	Allow []string `json:"allow"`
	// Deny is what no Pod gets. Default: loopback addresses, but for those of podCIDR, and link-local, multicast and broadcast
	// ones, and those at which clouds have metadata over IPv6.
	Deny []string `json:"deny"`
}

// GuestLimits are limits of each guest. Those of containers, limits.memory and limits.cpu, are not among them.
type GuestLimits struct {
	// MemoryBytes bounds the linear memory of a guest whose container has no limits.memory. Default 4294967296, which is
	// all that wasm has.
	MemoryBytes int64 `json:"memoryBytes"`
	// StackBytes bounds the stack of nested calls, of guests in isolation shared and of HTTP handlers: it is looked at some
	// 5000 times a second. Default 8388608. In isolation process guests run without such looks, and only wazero's own bound
	// holds, some 84 MB, which count in the memory of the container's cgroup.
	StackBytes int64 `json:"stackBytes"`
	// TableElements is how many elements the tables of a guest can have together, of eight bytes each, which limits.memory
	// does not count; default 1048576. A module that starts with more is refused.
	TableElements int `json:"tableElements"`
	// OpenFiles is how many files, directories and sockets a guest can have open; default 1024.
	OpenFiles int `json:"openFiles"`
	// OutputBytesPerSecond is how much a guest can print, on stdout and stderr together; one that prints more waits. As
	// much may come at once. Default 8388608; 0: no limit.
	OutputBytesPerSecond int64 `json:"outputBytesPerSecond"`
	// DirectoryEntries is how many entries of a directory the host has in memory at a time, for each directory that the
	// guest has open. Default 128.
	DirectoryEntries int `json:"directoryEntries"`
	// PollSubscriptions is how much one call of poll_oneoff can wait for; default 4096.
	PollSubscriptions int `json:"pollSubscriptions"`
}

// IsolationMode is how guests are kept apart (ADR D2).
type IsolationMode string

const (
	// IsolationProcess gives each container a process of its own; the default.
	IsolationProcess IsolationMode = "process"
	// IsolationShared runs many containers in one process.
	IsolationShared IsolationMode = "shared"
)

// Isolation maps Pods to isolation modes.
type Isolation struct {
	// Default holds for Pods without a runtimeClassName.
	Default IsolationMode `json:"default"`
	// RuntimeClasses maps runtimeClassName to a mode. Giving it replaces the default, {wasm-shared: shared}.
	RuntimeClasses map[string]IsolationMode `json:"runtimeClasses"`
	// Sharing says which containers of isolation shared have one process: all of the node (default), or those of a namespace.
	Sharing Sharing `json:"sharing"`
	// Shared is about those processes.
	Shared SharedProcesses `json:"shared"`
}

// Sharing is what has a shared process of its own.
type Sharing string

// The ways to share.
const (
	SharingNode      Sharing = "node"
	SharingNamespace Sharing = "namespace"
)

// HTTPHandlers is about Pods whose containers are HTTP handlers (the annotation wazlet.dev/http-handler): what they have
// without an annotation of their own, and the most that one may ask for.
type HTTPHandlers struct {
	// Timeout bounds a request. Default: 30s, at most 10m.
	Timeout HandlerTimeout `json:"timeout"`
	// MaxConcurrency bounds the instances of a container that run at a time. Default: 32, at most 256.
	MaxConcurrency HandlerConcurrency `json:"maxConcurrency"`
	// MaxBodyBytes bounds the body of a request. Default: 10Mi, at most 1Gi.
	MaxBodyBytes HandlerBody `json:"maxBodyBytes"`
}

// HandlerTimeout is the limit of a time.
type HandlerTimeout struct {
	Default metav1.Duration `json:"default"`
	Max     metav1.Duration `json:"max"`
}

// HandlerConcurrency is the limit of a number.
type HandlerConcurrency struct {
	Default int `json:"default"`
	Max     int `json:"max"`
}

// HandlerBody is the limit of a size, as in 10Mi.
type HandlerBody struct {
	Default resource.Quantity `json:"default"`
	Max     resource.Quantity `json:"max"`
}

// Images is about pulling, compiling and keeping images.
type Images struct {
	// MaxParallelPulls bounds simultaneous downloads; default 4.
	MaxParallelPulls int `json:"maxParallelPulls"`
	// MaxParallelCompiles bounds simultaneous compilations, each of which may take hundreds of megabytes; default 1.
	MaxParallelCompiles int `json:"maxParallelCompiles"`
	// CompileTimeout bounds each compilation; default 90s.
	CompileTimeout metav1.Duration `json:"compileTimeout"`
	// InsecureRegistries are spoken to by plain HTTP, or HTTPS with any certificate: host or host:port.
	InsecureRegistries []string `json:"insecureRegistries"`
	// Mirrors maps a registry's host ("docker.io") to the mirrors that are asked before it, in order: host[:port][/path].
	Mirrors map[string][]string `json:"mirrors,omitempty"`
	// CAFiles are PEM files of authorities that are trusted besides the system's.
	CAFiles []string `json:"caFiles,omitempty"`
	// DockerConfig is a docker config.json with credentials for registries; empty: anonymous.
	DockerConfig string `json:"dockerConfig,omitempty"`
	// GC can be changed while the node runs.
	GC ImageGC `json:"gc"`
}

// ImageGC says, in percent of the file system, when unused images are removed: from HighPercent on, down to LowPercent.
type ImageGC struct {
	HighPercent int `json:"highPercent"`
	LowPercent  int `json:"lowPercent"`
}

// Listener is where a server listens. Port 0 takes any free one.
type Listener struct {
	// Address is an IP address.
	Address string `json:"address"`
	Port    int    `json:"port"`
}

// KubeletServer is the API that kubectl logs and the API server talk to.
type KubeletServer struct {
	Listener `json:",inline"`
	// ServingCertificate says where the server's certificate comes from.
	ServingCertificate ServingCertificate `json:"servingCertificate"`
	// ClientCAFile holds the authorities of client certificates in PEM. Default: the authority of the kubeconfig.
	ClientCAFile string `json:"clientCAFile,omitempty"`
	// SystemLogs is what /logs/ serves.
	SystemLogs SystemLogs `json:"systemLogs"`
}

// SystemLogs are the logs of the node.
type SystemLogs struct {
	// Enabled serves the files of Dir; default true, like the kubelet's enableSystemLogHandler.
	Enabled bool `json:"enabled"`
	// Query answers /logs/?query= with what a service has written to the journal, or to a file in Dir; default false, like the
	// kubelet's enableSystemLogQuery.
	Query bool `json:"query"`
	// Dir is where the files are. Default: /var/log, for other users than root podLogsDir.
	Dir string `json:"dir"`
}

// ServingCertificate is a way to get a certificate.
type ServingCertificate struct {
	// Mode is csr (the cluster signs it; default), self-signed or files.
	Mode string `json:"mode"`
	// CertFile and KeyFile are for files; they are read again when they change.
	CertFile string `json:"certFile,omitempty"`
	KeyFile  string `json:"keyFile,omitempty"`
}

// LogLevel is the least important level that is written.
type LogLevel string

// The levels.
const (
	LevelDebug LogLevel = "debug"
	LevelInfo  LogLevel = "info"
	LevelWarn  LogLevel = "warn"
	LevelError LogLevel = "error"
)

// LogFormat is the form of a log line.
type LogFormat string

const (
	// FormatJSON is one JSON object in each line; the default.
	FormatJSON LogFormat = "json"
	// FormatText is for people.
	FormatText LogFormat = "text"
)

// Logging is the daemon's own log. It can be changed while the node runs.
type Logging struct {
	Level  LogLevel  `json:"level"`
	Format LogFormat `json:"format"`
}
