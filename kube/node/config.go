package node

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"time"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/clock"
)

// The intervals of the kubelet.
const (
	// StatusInterval is how often the status is computed.
	StatusInterval = 10 * time.Second
	// ReportInterval is how often an unchanged status is written.
	ReportInterval = 5 * time.Minute
	// LeaseDuration is how long a lease lasts; it is renewed at a quarter of it.
	LeaseDuration = 40 * time.Second

	fastInterval = 100 * time.Millisecond
	// fastFor ends the fast loop of a node that does not become ready.
	fastFor = 2 * time.Minute
)

// Config is what a Controller needs to know. Functions are called from Run's goroutine and must be quick, or give up with
// the context of Run.
type Config struct {
	// Client is the API server, as this node. Required.
	Client kubernetes.Interface
	// NodeName is the name of the Node object. Required.
	NodeName string
	// Hostname is the label kubernetes.io/hostname and the address of type Hostname. Default: NodeName.
	Hostname string
	// Labels are added to the default ones, or override them. See ValidateLabels.
	Labels map[string]string
	// Taints are what the Node is registered with; nil means DefaultTaints, empty means none. A Node that exists keeps its
	// taints: the API server lets no node change its own.
	Taints []corev1.Taint
	// ProviderID is spec.providerID at registration; empty for none.
	ProviderID string
	// HostArch is the label wazlet.dev/host-arch. Default: the architecture of this process.
	HostArch string
	// Version is wazlet's, for nodeInfo.containerRuntimeVersion. Required.
	Version string
	// KubeletVersion is the Kubernetes version whose contract this node fulfills, such as v1.36.3. Required.
	KubeletVersion string
	// Port is where the kubelet server listens; 0: there is none.
	Port int32
	// RuntimeHandlers and DeclaredFeatures go into the status as they are.
	RuntimeHandlers  []corev1.NodeRuntimeHandler
	DeclaredFeatures []string

	// MaxPods is the capacity for Pods. Required.
	MaxPods int
	// Reserved is what is not for Pods: allocatable is capacity less this. Keys are cpu, memory, ephemeral-storage, pods.
	Reserved corev1.ResourceList
	// Addresses are the node's IP addresses, without the host name. An error makes the node not ready. See HostAddresses.
	Addresses func() ([]corev1.NodeAddress, error)
	// Machine describes the machine. An error makes the node not ready. See Host.Machine.
	Machine func() (Machine, error)
	// Pressure says what is scarce; an error is logged and leaves the conditions as they were. See Monitor.Pressure.
	// nil: nothing ever is.
	Pressure func() (Pressure, error)
	// Images are those in the store; the 50 largest are reported. nil: none.
	Images func() []corev1.ContainerImage
	// Ready says why the node cannot run Pods; nil: it can. A nil function means always.
	Ready func() error

	// OnPodCIDRs is told the Pod CIDRs of the Node when they are first known and when they change. nil: nobody asks.
	OnPodCIDRs func([]string)
	// OnHeartbeatFailure is called when a heartbeat failed twice in a row, to close dead connections. It is called from
	// several goroutines. nil: nothing to do.
	OnHeartbeatFailure func()
	// Recorder takes the Node's Events; nil: none.
	Recorder record.EventRecorder
	// Log is nil for none.
	Log *zap.Logger
	// Clock is nil for the real one. The lease's timers are always real.
	Clock clock.WithDelayedExecution
	// Random returns numbers from 0 to 1 for the jitter; nil: math/rand.
	Random func() float64
}

func (c Config) validate() error {
	var errs []error
	require := func(ok bool, name string) {
		if !ok {
			errs = append(errs, fmt.Errorf("%s: required", name))
		}
	}
	require(c.Client != nil, "Client")
	require(c.NodeName != "", "NodeName")
	require(c.Version != "", "Version")
	require(c.KubeletVersion != "", "KubeletVersion")
	require(c.MaxPods > 0, "MaxPods")
	require(c.Addresses != nil, "Addresses")
	require(c.Machine != nil, "Machine")
	errs = append(errs, ValidateLabels(field.NewPath("nodeLabels"), c.Labels).ToAggregate())
	errs = append(errs, ValidateTaints(field.NewPath("registerWithTaints"), c.Taints).ToAggregate())
	errs = append(errs, ValidateReserved(field.NewPath("reserved"), c.Reserved).ToAggregate())
	return errors.Join(errs...)
}

func (c Config) withDefaults() Config {
	if c.Hostname == "" {
		c.Hostname = c.NodeName
	}
	if c.HostArch == "" {
		c.HostArch = runtime.GOARCH
	}
	if c.Log == nil {
		c.Log = zap.NewNop()
	}
	if c.Clock == nil {
		c.Clock = clock.RealClock{}
	}
	if c.Random == nil {
		c.Random = rand.Float64
	}
	return c
}

// Machine is what nodeInfo and capacity are made of. Zero numbers mean that they could not be found out.
type Machine struct {
	MachineID, SystemUUID, BootID string
	KernelVersion, OSImage        string
	CPUs                          int
	MemoryBytes                   uint64
	SwapBytes                     uint64
	// DiskBytes is the size of the file system that Pods write to.
	DiskBytes uint64
}

// Pressure says what is scarce on the node.
type Pressure struct{ Memory, Disk, PID bool }
