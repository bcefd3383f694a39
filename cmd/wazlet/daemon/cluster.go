package daemon

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/component-helpers/nodedeclaredfeatures/features/extendwebsocketstokubelet"
	"k8s.io/component-helpers/nodedeclaredfeatures/features/restartallcontainers"
	"k8s.io/klog/v2"

	"github.com/wazlet/wazlet/actors"
	"github.com/wazlet/wazlet/cmd/wazlet/config"
	"github.com/wazlet/wazlet/kube/certs"
	"github.com/wazlet/wazlet/kube/events"
	"github.com/wazlet/wazlet/kube/logbridge"
	"github.com/wazlet/wazlet/kube/node"
	"github.com/wazlet/wazlet/kube/objects"
	"github.com/wazlet/wazlet/kube/server"
	"github.com/wazlet/wazlet/kube/source"
	"github.com/wazlet/wazlet/kube/status"
	"github.com/wazlet/wazlet/nodeactor"
)

// KubernetesVersion is the release of Kubernetes whose contract this node fulfills.
const KubernetesVersion = "v1.36.3"

// Limits of requests a second. With the kubelet's, 50 and 100, a node would wait for its turn with nearly everything when
// many Pods come at once: a Pod takes a token and two requests for each status. The burst is that of 300 Pods; the API server
// bounds what it takes from a node by itself. Events have the kubelet's limit, in package events, and heartbeats need none.
const (
	apiQPS    = 200
	apiBurst  = 1000
	unlimited = -1
	// Anybody who reaches the kubelet's port can make the node ask about a token.
	tokenQPS   = 20
	tokenBurst = 50
)

// cluster is the membership in a cluster: what exists of the Kubernetes column when there is a kubeconfig.
type cluster struct {
	d      *daemon
	client *certs.Client
	// api serves all but Events, the Node and who calls the node, which have clients of their own: none of them waits for
	// statuses, nor they for it.
	api     kubernetes.Interface
	tokens  server.TokenReviewer
	access  server.AccessReviewer
	serving *certs.Serving
	cas     func() *x509.CertPool
	events  *events.Sink
	pods    *source.Pods
	merge   *source.Merge
	status  *status.Manager
	objects *objects.Objects
	node    *node.Controller
	address func() ([]corev1.NodeAddress, error)

	listener net.Listener
}

// join makes the parts. It asks the network nothing: without an API server the node runs what it has.
func (d *daemon) join(ctx context.Context) (*cluster, error) {
	klog.SetLogger(logbridge.New(d.log.Named("client-go")))
	c := &cluster{d: d}
	for _, step := range []func(context.Context) error{c.makeClient, c.makeServing, c.makeIntake, c.makeNode} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func (c *cluster) makeClient(context.Context) (err error) {
	cfg := c.d.Config
	c.client, err = certs.NewClient(certs.ClientConfig{
		Kubeconfig: cfg.Kubeconfig, BootstrapKubeconfig: cfg.BootstrapKubeconfig, NodeName: cfg.NodeName,
		Dir: filepath.Join(cfg.RootDir, "pki"), Log: c.d.log.Logger, RenewErrors: c.d.counted.renewals.client,
	})
	if err != nil {
		return fmt.Errorf("join the cluster: %w", err)
	}
	if c.api, err = c.newAPI(apiQPS, apiBurst); err != nil {
		return err
	}
	var ips []string
	if cfg.NodeIP != "" {
		ips = []string{cfg.NodeIP}
	}
	c.address, err = node.HostAddresses(node.AddressConfig{NodeIPs: ips, NodeName: cfg.NodeName})
	return err
}

// newAPI makes a client that shares the connections of the others, but not their limit.
func (c *cluster) newAPI(qps float32, burst int) (kubernetes.Interface, error) {
	rest := c.client.Config()
	rest.QPS, rest.Burst = qps, burst
	rest.ContentType, rest.AcceptContentTypes = "application/vnd.kubernetes.protobuf", "application/vnd.kubernetes.protobuf,application/json"
	rest.UserAgent = "wazlet/" + c.d.version()
	api, err := kubernetes.NewForConfig(rest)
	if err != nil {
		return nil, fmt.Errorf("join the cluster: %w", err)
	}
	return api, nil
}

// makeServing opens the kubelet's port and prepares its certificate.
func (c *cluster) makeServing(ctx context.Context) (err error) {
	cfg := c.d.Config.KubeletServer
	c.serving, err = certs.NewServing(certs.ServingConfig{
		Mode: certs.ServingMode(cfg.ServingCertificate.Mode), NodeName: c.d.Config.NodeName, Dir: filepath.Join(c.d.Config.RootDir, "pki"),
		CertFile: cfg.ServingCertificate.CertFile, KeyFile: cfg.ServingCertificate.KeyFile,
		Client: c.api, Ready: c.client.Ready(), Addresses: c.addresses, Log: c.d.log.Logger,
		RenewErrors: c.d.counted.renewals.serving, Rotations: c.d.counted.renewals.ages,
	})
	if err != nil {
		return fmt.Errorf("kubeletServer: %w", err)
	}
	if err := c.makeReviewers(); err != nil {
		return err
	}
	if c.cas, err = c.authorities(); err != nil {
		return fmt.Errorf("kubeletServer.clientCAFile: %w", err)
	}
	address := net.JoinHostPort(cfg.Address, strconv.Itoa(cfg.Port))
	if c.listener, err = (&net.ListenConfig{}).Listen(ctx, "tcp", address); err != nil {
		return fmt.Errorf("kubeletServer: %w", err)
	}
	return nil
}

// makeReviewers makes who judges the clients of the node. Strangers with wrong tokens, which are many, delay each other only.
func (c *cluster) makeReviewers() error {
	tokens, err := c.newAPI(tokenQPS, tokenBurst)
	if err != nil {
		return err
	}
	access, err := c.newAPI(unlimited, 0)
	if err != nil {
		return err
	}
	c.tokens, c.access = tokens.AuthenticationV1().TokenReviews(), access.AuthorizationV1().SubjectAccessReviews()
	return nil
}

// authorities are those of client certificates: the file's, or the cluster's own.
func (c *cluster) authorities() (func() *x509.CertPool, error) {
	if file := c.d.Config.KubeletServer.ClientCAFile; file != "" {
		ca, err := server.NewCAFile(file, func(err error) { c.d.log.Error("client authorities were not read again", zap.Error(err)) })
		if err != nil {
			return nil, err
		}
		return ca.Pool, nil
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(c.client.CA()) {
		return func() *x509.CertPool { return nil }, nil
	}
	return func() *x509.CertPool { return pool }, nil
}

// addresses are the node's as far as they are known.
func (c *cluster) addresses() []corev1.NodeAddress {
	found, err := c.address()
	if err != nil {
		return nil
	}
	return append(found, corev1.NodeAddress{Type: corev1.NodeHostName, Address: c.d.Config.NodeName})
}

// hostIP is the node's first address, empty while none is known.
func (c *cluster) hostIP() string {
	found, err := c.address()
	if err != nil || len(found) == 0 {
		return ""
	}
	return found[0].Address
}

// allocatable is what the node can give to Pods, as far as it is registered.
func (c *cluster) allocatable() corev1.ResourceList {
	if n := c.node.Node(); n != nil {
		return n.Status.Allocatable
	}
	return nil
}

// makeIntake connects the Pods of the API to the node actor, and the node actor's statuses to the API.
func (c *cluster) makeIntake(ctx context.Context) (err error) {
	d := c.d
	c.objects, err = objects.New(objects.Options{
		Client: c.api,
		OnChange: func(kind, namespace, name string) {
			d.tell(nodeactor.Refresh{Kind: kind, Namespace: namespace, Name: name})
		},
	})
	if err != nil {
		return err
	}
	c.merge = source.NewMerge(source.MergeOptions{
		OnResync: func(pods []*corev1.Pod) {
			for _, p := range pods {
				c.register(p)
			}
			d.resync(pods)
		},
		OnApply:     func(p *corev1.Pod) { c.register(p); d.tell(nodeactor.Apply{Pod: p}) },
		OnRemove:    func(uid types.UID) { d.tell(nodeactor.Remove{UID: string(uid)}) },
		EarlyStatic: true,
	})
	c.pods, err = source.NewPods(source.PodsOptions{
		Client: c.api, NodeName: d.Config.NodeName, OnSynced: c.merge.Synced,
		OnChange: func(p *corev1.Pod) {
			d.counted.watched(p)
			d.catchUp(ctx, p)
			c.merge.Changed(p)
			c.status.Observe(p)
		},
		OnGone:    func(p *corev1.Pod) { d.counted.forget(p.UID); c.merge.Gone(p); c.status.Observe(p) },
		OnProblem: func(err error) { d.log.Warn("watch pods", zap.Error(err)) },
	})
	if err != nil {
		return err
	}
	c.status, err = status.New(status.Config{
		Client: c.api, NodeName: d.Config.NodeName, Pods: c.pods,
		Node: func() (*corev1.Node, error) {
			if n := c.node.Node(); n != nil {
				return n, nil
			}
			return nil, errors.New("the node is not registered yet")
		},
		OnError: func(pod types.NamespacedName, err error) {
			d.log.Warn("write status", zap.String("namespace", pod.Namespace), zap.String("pod", pod.Name), zap.Error(err))
		},
		OnWritten: func(behind time.Duration) { d.counted.synced.Observe(behind.Seconds()) },
	})
	if err != nil {
		return err
	}
	api, err := c.newAPI(unlimited, 0)
	if err != nil {
		return err
	}
	c.events, err = events.New(ctx, events.Config{Client: api, NodeName: d.Config.NodeName, Urgent: c.status.Behind})
	return err
}

// register has the objects followed that a Pod refers to. One that is over needs none, and if the node has nothing of it
// nobody would ever say that it has ended.
func (c *cluster) register(p *corev1.Pod) {
	if !over(p.Status.Phase) {
		c.objects.Register(p)
	}
}

func over(p corev1.PodPhase) bool { return p == corev1.PodSucceeded || p == corev1.PodFailed }

// makeNode describes the node.
func (c *cluster) makeNode(context.Context) (err error) {
	d := c.d
	host := node.Host{Disk: d.Config.RootDir}
	monitor, err := node.NewMonitor(node.MonitorConfig{Host: host, Dirs: []string{d.Config.RootDir, d.Config.PodLogsDir}})
	if err != nil {
		return err
	}
	api, err := c.newAPI(unlimited, 0)
	if err != nil {
		return err
	}
	c.node, err = node.New(node.Config{
		Client: api, NodeName: d.Config.NodeName, Labels: d.Config.NodeLabels, Taints: d.Config.RegisterWithTaints,
		Version: d.version(), KubeletVersion: KubernetesVersion,
		Port:    int32(c.listener.Addr().(*net.TCPAddr).Port), //nolint:errcheck,forcetypeassert // it listens on TCP
		MaxPods: d.Config.MaxPods, Reserved: d.Config.Reserved, Addresses: c.address, Machine: host.Machine, Pressure: monitor.Pressure,
		DeclaredFeatures: []string{ // sorted, or the API server refuses them
			extendwebsocketstokubelet.ExtendWebSocketsToKubeletFeatureGate,
			restartallcontainers.RestartAllContainersOnContainerExits,
		},
		RuntimeHandlers: runtimeHandlers(d.Config.Isolation.RuntimeClasses),
		Images:          c.images, Ready: d.runtimeReady, OnPodCIDRs: d.network.onPodCIDRs,
		OnHeartbeatFailure: c.client.CloseConnections, Recorder: c.events.Recorder(), Log: d.log.Logger,
	})
	return err
}

// runtimeHandlers are the default one, that of deploy/runtimeclass and those that are configured. A guest sees no mounts below a
// mount, so that read-only ones are it recursively.
func runtimeHandlers(classes map[string]config.IsolationMode) []corev1.NodeRuntimeHandler {
	names := append(slices.Collect(maps.Keys(classes)), "", "wasm")
	slices.Sort(names)
	var out []corev1.NodeRuntimeHandler
	for _, name := range slices.Compact(names) {
		recursive, users := true, false
		out = append(out, corev1.NodeRuntimeHandler{
			Name: name, Features: &corev1.NodeRuntimeHandlerFeatures{RecursiveReadOnlyMounts: &recursive, UserNamespaces: &users},
		})
	}
	return out
}

// images lists the store for the Node's status.
func (c *cluster) images() []corev1.ContainerImage {
	stored, err := c.d.images.List()
	if err != nil {
		c.d.log.Warn("list images", zap.Error(err))
		return nil
	}
	out := make([]corev1.ContainerImage, 0, len(stored))
	for _, s := range stored {
		out = append(out, corev1.ContainerImage{Names: []string{s.ID, s.Ref}, SizeBytes: s.Size})
	}
	return out
}

// observe makes Kubernetes Events of notices.
func (c *cluster) observe(e actors.Event) {
	n, ok := e.(actors.Notice)
	if !ok {
		return
	}
	c.events.Emit(events.Notice{
		Pod:       events.Pod{Namespace: n.Pod.Namespace, Name: n.Pod.Name, UID: types.UID(n.Pod.UID)},
		FieldPath: n.FieldPath, Warning: n.Warning, Reason: string(n.Reason), Message: n.Message,
	})
}

// onStatus and onEnded are the node actor's callbacks.
func (c *cluster) onStatus(pod *corev1.Pod, s corev1.PodStatus) {
	if over(s.Phase) {
		c.objects.Unregister(pod.UID) // a Job keeps its Pods for long
	}
	c.status.Set(pod, s)
}

func (c *cluster) onEnded(pod *corev1.Pod) {
	c.merge.Ended(pod.UID)
	c.objects.Unregister(pod.UID)
	c.status.Ended(pod)
}

// flushFor bounds how long a daemon that ends waits for its last statuses to be written.
const flushFor = 5 * time.Second

// serve starts what runs beside the actors; all of it ends with ctx.
func (c *cluster) serve(ctx context.Context, services *sync.WaitGroup) {
	for _, run := range []func(context.Context){c.client.Run, c.serving.Run, c.node.Run, c.status.Run} {
		services.Go(func() { run(ctx) })
	}
	services.Go(func() {
		select {
		case <-c.node.Registered(): // Pods are judged by what the Node says
			c.pods.Run(ctx)
		case <-ctx.Done():
		}
	})
	services.Go(func() {
		select {
		case <-c.client.Ready():
			if err := c.objects.Run(ctx); err != nil {
				c.d.die(fmt.Errorf("read objects: %w", err))
			}
		case <-ctx.Done():
		}
	})
	services.Go(func() {
		d := c.d
		err := server.Serve(ctx, c.listener,
			server.TLSConfig{GetCertificate: c.serving.Certificate, ClientCAs: c.cas},
			server.Auth{NodeName: d.Config.NodeName, Tokens: c.tokens, Access: c.access},
			d.apiHandlers())
		if err != nil {
			d.die(fmt.Errorf("kubeletServer: %w", err))
		}
	})
}

// apiHandlers are what the kubelet's API serves.
func (d *daemon) apiHandlers() server.Handlers {
	h := server.Handlers{
		Pods: d.pods, RunningPods: d.runningPods, Logs: d.logs, Healthy: d.healthy, Ready: d.ready, Metrics: d.metrics,
		PortForward: d.portForward, Stats: d.stats.Summary, Exec: d.exec, Attach: d.attach, Requests: d.counted.requests,
		ProbeMetrics: server.NewProbeMetrics(d.started), // without a probe yet
		ConfigZ:      func() any { return configZ(d.current.Load()) }, Profiling: true, Logger: d.log.Logger,
		Status: &server.Status{Started: d.started, Version: KubernetesVersion}, Flags: d.Flags.Values, SetVerbosity: d.setVerbosity,
	}
	logs := d.Config.KubeletServer.SystemLogs
	h.LogDir, h.LogQuery, h.NoNodeLogs = logs.Dir, logs.Query, !logs.Enabled
	if logs.Query {
		h.Journal = server.FindJournal()
	}
	return h
}

// awaitUnready waits until the API server knows that the node is not ready, but not for long: a node without Pods is drained
// before that is written.
func (c *cluster) awaitUnready(ctx context.Context) {
	if c == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, flushFor)
	defer cancel()
	if err := c.node.AwaitUnready(ctx); err != nil {
		c.d.log.Warn("the end of the node was not written", zap.Error(err))
	}
}

// flush waits until the last statuses are written, but not for long.
func (c *cluster) flush(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, flushFor)
	defer cancel()
	if err := c.status.Flush(ctx); err != nil {
		c.d.log.Warn("the last statuses were not written", zap.Error(err))
	}
}
