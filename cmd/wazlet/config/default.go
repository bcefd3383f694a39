package config

import (
	"os"
	"path/filepath"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wazlet/wazlet/actors"
	"github.com/wazlet/wazlet/kube/certs"
	"github.com/wazlet/wazlet/moduleactor/egress"
)

// StandalonePodCIDR is the podCIDR of a node without a cluster: loopback addresses, which need no network set-up.
const StandalonePodCIDR = "127.88.0.0/16"

// Host is what defaults depend on.
type Host struct {
	// Name is the host name.
	Name string
	// Root says that wazlet runs as root.
	Root bool
	// StateDir and ConfigDir are the user's directories for state and configuration; not used when Root.
	StateDir, ConfigDir string
}

// ThisHost describes the machine and user that the process runs as.
func ThisHost() Host {
	name, err := os.Hostname()
	if err != nil {
		name = "" // Validate asks for a nodeName then
	}
	home, err := os.UserHomeDir()
	if err != nil {
		home = string(filepath.Separator)
	}
	return Host{
		Name:      name,
		Root:      os.Geteuid() == 0,
		StateDir:  xdg("XDG_STATE_HOME", filepath.Join(home, ".local", "state")),
		ConfigDir: xdg("XDG_CONFIG_HOME", filepath.Join(home, ".config")),
	}
}

// xdg returns a directory of the XDG base directory specification, which says that relative ones are to be ignored.
func xdg(variable, otherwise string) string {
	if dir := os.Getenv(variable); filepath.IsAbs(dir) {
		return dir
	}
	return otherwise
}

// Default is the configuration of a node on this machine that has neither a file nor flags.
func Default() NodeConfiguration { return ThisHost().Default() }

// Default is the configuration of a node on host h that has neither a file nor flags.
func (h Host) Default() NodeConfiguration { return h.complete(h.base()) }

// base holds the defaults that do not depend on other fields.
func (h Host) base() NodeConfiguration {
	c := NodeConfiguration{
		TypeMeta:    metav1.TypeMeta{APIVersion: APIVersion, Kind: Kind},
		NodeName:    strings.ToLower(h.Name),
		RootDir:     "/var/lib/wazlet",
		ManifestDir: "/etc/wazlet/manifests",
		MaxPods:     250,
		DNS:         DNS{ClusterDNS: []string{}, ClusterDomain: "cluster.local", ResolvConf: "/etc/resolv.conf"},
		Egress:      Egress{Allow: []string{egress.Any}},
		GuestLimits: GuestLimits{
			MemoryBytes: 4 << 30, StackBytes: 8 << 20, TableElements: 1 << 20, OpenFiles: 1024, OutputBytesPerSecond: 8 << 20,
			DirectoryEntries: 128, PollSubscriptions: 4096,
		},
		Isolation: Isolation{
			Default: IsolationProcess, Sharing: SharingNode,
			Shared: SharedProcesses{IdleTimeout: metav1.Duration{Duration: defaultIdleTimeout}, HostPaths: []string{}},
		},
		Supervision: actors.DefaultSupervision(),
		Images: Images{
			MaxParallelPulls:    4,
			MaxParallelCompiles: 1,
			CompileTimeout:      metav1.Duration{Duration: 90 * time.Second},
			InsecureRegistries:  []string{},
			GC:                  ImageGC{HighPercent: 85, LowPercent: 80},
		},
		HTTPHandlers: HTTPHandlers{
			Timeout:        HandlerTimeout{Default: metav1.Duration{Duration: 30 * time.Second}, Max: metav1.Duration{Duration: 10 * time.Minute}},
			MaxConcurrency: HandlerConcurrency{Default: 32, Max: 256},
			MaxBodyBytes:   HandlerBody{Default: resource.MustParse("10Mi"), Max: resource.MustParse("1Gi")},
		},
		KubeletServer: KubeletServer{
			Listener:           Listener{Address: "0.0.0.0", Port: 10250},
			ServingCertificate: ServingCertificate{Mode: string(certs.ServingCSR)},
			SystemLogs:         SystemLogs{Enabled: true},
		},
		Debug:   Listener{Address: "127.0.0.1", Port: 10248},
		Logging: Logging{Level: LevelInfo, Format: FormatJSON},
	}
	if !h.Root {
		c.RootDir = filepath.Join(h.StateDir, "wazlet")
		c.ManifestDir = filepath.Join(h.ConfigDir, "wazlet", "manifests")
	}
	return c
}

// complete fills in what depends on other fields and was not given.
func (h Host) complete(c NodeConfiguration) NodeConfiguration {
	if c.NodeName == "" {
		c.NodeName = strings.ToLower(h.Name)
	}
	if c.PodLogsDir == "" {
		c.PodLogsDir = "/var/log/pods"
		if !h.Root {
			c.PodLogsDir = filepath.Join(c.RootDir, "log")
		}
	}
	if c.KubeletServer.SystemLogs.Dir == "" {
		c.KubeletServer.SystemLogs.Dir = "/var/log"
		if !h.Root {
			c.KubeletServer.SystemLogs.Dir = c.PodLogsDir
		}
	}
	if c.PodCIDR == "" && c.Kubeconfig == "" {
		c.PodCIDR = StandalonePodCIDR
	}
	if c.Egress.Deny == nil {
		c.Egress.Deny = append(egress.Except("127.0.0.0/8", c.PodCIDR), "169.254.0.0/16", "::1", "fe80::/10",
			"224.0.0.0/4", "255.255.255.255", "ff00::/8", "fd00:ec2::254", "fd20:ce::254")
	}
	if c.Isolation.RuntimeClasses == nil {
		c.Isolation.RuntimeClasses = map[string]IsolationMode{"wasm-shared": IsolationShared}
	}
	return c
}
