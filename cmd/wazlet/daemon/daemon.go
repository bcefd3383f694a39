package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"

	"github.com/wazlet/wazlet/actors"
	"github.com/wazlet/wazlet/actors/debug"
	"github.com/wazlet/wazlet/actors/metrics"
	"github.com/wazlet/wazlet/cmd/wazlet/config"
	"github.com/wazlet/wazlet/kube/stats"
	"github.com/wazlet/wazlet/moduleactor"
	"github.com/wazlet/wazlet/moduleactor/bundle"
	"github.com/wazlet/wazlet/moduleactor/image"
	"github.com/wazlet/wazlet/nodeactor"
	"github.com/wazlet/wazlet/podactor"
)

// Options are what a daemon is started with.
type Options struct {
	Config config.NodeConfiguration
	// Flags read the configuration again when its file changes.
	Flags *config.Flags
	// Shim is the path of wazlet-shim.
	Shim    string
	OnTerm  OnTerm
	Version string
	// Log receives the daemon's log.
	Log io.Writer
	// Signals tell the daemon to end (SIGINT, SIGTERM) or to read its configuration again (SIGHUP).
	Signals <-chan os.Signal
}

// A container's log is at most logMaxFiles files of logMaxBytes each, as the kubelet's defaults have it.
const (
	logMaxBytes = 10 << 20
	logMaxFiles = 5
)

// compileMemoryBytes bounds each compiler. Modules of 49 MB were seen to take 1.4 GB; one that
// needs more than this would endanger the node.
const compileMemoryBytes = 2 << 30

// daemon is everything that runs in the process.
type daemon struct {
	Options
	log      *logger
	images   *image.Store
	runtime  *bundle.Runtime
	recorder *debug.Recorder
	metrics  *metrics.Metrics
	stats    *stats.Provider
	counted  *counted
	system   *actors.System
	node     *actor.PID
	network  *network
	cluster  *cluster // nil on a standalone node

	// fatal receives why the daemon must end.
	fatal chan error
	// synced is closed once the node actor was told which Pods are wanted.
	synced     chan struct{}
	syncedOnce sync.Once
	// gc is the part of the configuration that the image collector follows.
	gc      chan config.ImageGC
	started time.Time
	// draining is set once all Pods are being ended.
	draining atomic.Bool
	// again asks for another look at the configuration; current is the one in force.
	again   chan struct{}
	current atomic.Pointer[config.NodeConfiguration]
}

// Run runs the node until a signal or a fatal error ends it.
func Run(ctx context.Context, o Options) error {
	d := &daemon{
		Options: o, fatal: make(chan error, 1), synced: make(chan struct{}), gc: make(chan config.ImageGC, 1),
		again: make(chan struct{}, 1), started: time.Now(),
	}
	d.current.Store(&d.Config)
	if err := d.open(); err != nil {
		return err
	}
	unlock, err := lockRoot(o.Config.RootDir)
	if err != nil {
		return err
	}
	defer unlock()
	if err := d.assemble(); err != nil {
		return err
	}
	defer func() { _ = d.runtime.Close() }()
	server, err := d.listen(ctx)
	if err != nil {
		return err
	}
	d.network = newNetwork(d.log.Logger, d.Config.PodCIDR, d.Config.MaxPods, d.hostIP)
	if d.Config.Kubeconfig != "" {
		if d.cluster, err = d.join(ctx); err != nil {
			return errors.Join(err, server.Close())
		}
	}
	d.network.look()
	if err := d.spawn(); err != nil {
		return errors.Join(err, server.Close())
	}

	ctx, cancel := context.WithCancel(ctx)
	var services sync.WaitGroup
	d.serve(ctx, &services, server)
	if d.cluster != nil {
		d.cluster.serve(ctx, &services)
	}
	err = d.untilEnd(ctx)
	if d.cluster != nil {
		d.cluster.flush(ctx)
	}
	cancel()
	d.recorder.Close()
	services.Wait()
	return errors.Join(err, d.stop(context.WithoutCancel(ctx)))
}

// open makes the logger and the directories.
func (d *daemon) open() error {
	d.log = newLogger(d.Config.Logging, d.Log)
	for _, dir := range []string{d.Config.RootDir, d.cacheDir()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("create rootDir: %w", err)
		}
	}
	if err := os.MkdirAll(d.Config.PodLogsDir, 0o755); err != nil { //nolint:gosec // log collectors read it
		return fmt.Errorf("create podLogsDir: %w", err)
	}
	return nil
}

func (d *daemon) cacheDir() string { return filepath.Join(d.Config.RootDir, "cache") }

// lockRoot makes sure that there is one daemon for each state directory. The lock dies with the process.
func lockRoot(root string) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(root, "daemon.lock"), os.O_CREATE|os.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock rootDir: %w", err)
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = errors.New("another wazlet runs there")
	}
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("lock rootDir %s: %w", root, err)
	}
	return func() { _ = f.Close() }, nil
}

// assemble makes the parts, from the bottom up.
func (d *daemon) assemble() (err error) {
	c := d.Config
	d.images, err = image.Open(image.Config{
		Dir: filepath.Join(c.RootDir, "images"), InsecureRegistries: c.Images.InsecureRegistries, Mirrors: c.Images.Mirrors,
		CAFiles: c.Images.CAFiles, DockerConfig: c.Images.DockerConfig, MaxParallelPulls: c.Images.MaxParallelPulls,
	})
	if err != nil {
		return fmt.Errorf("open the image store: %w", err)
	}
	d.runtime, err = bundle.New(bundle.Config{
		Root: c.RootDir, Shim: d.Shim, CacheDir: d.cacheDir(), MaxParallelCompiles: c.Images.MaxParallelCompiles,
		CompileMemoryBytes: compileMemoryBytes, CompileTimeout: c.Images.CompileTimeout.Duration, TableElements: c.GuestLimits.TableElements,
		Cgroups: d.cgroups(), LogsDir: c.PodLogsDir, SharedMemoryBytes: c.Isolation.Shared.MemoryBytes,
		SharedIdle: c.Isolation.Shared.IdleTimeout.Duration, SharedHostPaths: c.Isolation.Shared.HostPaths, Warn: func(err error) { d.log.Warn("runtime", zap.Error(err)) },
		Refused: d.refused,
	})
	if err != nil {
		return fmt.Errorf("open the runtime: %w", err)
	}
	d.recorder = debug.NewRecorder(nil)
	d.counted = newCounted()
	d.metrics, err = metrics.New(metrics.Config{
		Actors:   func() []actors.Info { return d.system.Registry().Snapshot() },
		Counters: func() actors.Counters { return d.system.Counters() },
		Pods:     d.pods, Node: c.NodeName, Others: slices.Concat(d.counted.collectors(), d.certificates(), []prometheus.Collector{newCensus(d.census)}),
	})
	if err != nil {
		return fmt.Errorf("make metrics: %w", err)
	}
	if d.stats, err = d.measure(); err != nil {
		return err
	}
	d.system = actors.New(actors.Options{
		Logger:   d.log.Logger,
		Observer: actors.Tee(logEvents(d.log.Logger), d.recorder.Observe, d.metrics.Observe, d.observe),
	})
	return nil
}

// spawn starts the tree. Pods of an earlier daemon are adopted at once.
func (d *daemon) spawn() (err error) {
	c := d.Config
	modules := moduleactor.Config{
		Images:  countedImages{d.images, d.counted.operations},
		Runtime: countedRuntime{moduleactor.FromBundle(d.runtime), d.counted.operations}, RootDir: c.RootDir,
		LogMaxBytes: logMaxBytes, LogMaxFiles: logMaxFiles,
		GuestLimits: guestLimits(c.GuestLimits), CreateTimeout: c.Images.CompileTimeout.Duration + beyondCompile,
	}
	pods := &podactor.Config{
		RootDir: c.RootDir, PodLogsDir: c.PodLogsDir, NodeName: c.NodeName, Supervision: c.Supervision,
		RuntimeClasses: map[string]podactor.Isolation{}, HostsFile: bundle.HostsFile, DNS: dnsOf(c.DNS), Egress: egressOf(c.Egress),
		DefaultIsolation:  podactor.Isolation(c.Isolation.Default),
		SharedByNamespace: c.Isolation.Sharing == config.SharingNamespace,
		SharedHostPaths:   c.Isolation.Shared.HostPaths,
		Handlers:          handlerLimits(c.HTTPHandlers),
	}
	if pods.Hostname, err = os.Hostname(); err != nil {
		return fmt.Errorf("find out the host's name: %w", err)
	}
	if pods.User, err = containerUser(); err != nil {
		return err
	}
	for class, mode := range c.Isolation.RuntimeClasses {
		pods.RuntimeClasses[class] = podactor.Isolation(mode)
	}
	d.node, err = nodeactor.Spawn(d.system, nodeactor.Config{
		RootDir: c.RootDir, PodLogsDir: c.PodLogsDir, NodeName: c.NodeName, MaxPods: c.MaxPods, Supervision: c.Supervision,
		Network: d.network.state(), OnStatus: d.onStatus, OnEnded: d.onEnded, Admit: d.admit,
	}, nodeactor.Deps{
		Pod: func(start podactor.Start) (*actor.Props, *actors.Handle) {
			ref := podOf(start)
			deps := podactor.Deps{
				Module: func(container string) (*actor.Props, *actors.Handle) {
					return moduleactor.Props(d.system, modules, ref, container)
				},
				Bundles: d.runtime,
			}
			if d.cluster != nil {
				deps.Objects, deps.Allocatable = d.cluster.objects, d.cluster.allocatable
			}
			return podactor.Props(d.system, pods, deps, start)
		},
		Guests: d.runtime, Fatal: d.die,
	})
	if err != nil {
		return fmt.Errorf("start the node actor: %w", err)
	}
	return nil
}

// connect tells the node actor of the network, and the API server whether there is one.
func (d *daemon) connect(n nodeactor.Network, changed bool) {
	d.tell(nodeactor.Connect{Network: n})
	if d.cluster != nil && changed {
		d.cluster.node.Nudge()
	}
}

// observe, onStatus and onEnded count, and pass on to the cluster, if there is one.
func (d *daemon) observe(e actors.Event) {
	d.counted.observe(e)
	if d.cluster != nil {
		d.cluster.observe(e)
	}
}

func (d *daemon) onStatus(pod *corev1.Pod, s corev1.PodStatus) {
	d.counted.status(pod, s)
	if d.cluster != nil {
		d.cluster.onStatus(pod, s)
	}
}

func (d *daemon) onEnded(pod *corev1.Pod) {
	d.counted.forget(pod.UID)
	if d.cluster != nil {
		d.cluster.onEnded(pod)
	}
}

// tell sends a command to the node actor.
func (d *daemon) tell(c nodeactor.Command) { d.system.Root().Send(d.node, c) }

// version is wazlet's, never empty.
func (d *daemon) version() string { return cmp.Or(d.Version, "dev") }

// podOf names the Pod that a pod actor begins with.
func podOf(start podactor.Start) actors.PodRef {
	pod := start.Pod
	if pod == nil {
		pod = start.Checkpoint.Pod()
	}
	return actors.PodRef{UID: string(pod.UID), Namespace: pod.Namespace, Name: pod.Name}
}

// die ends the daemon; the first reason counts.
func (d *daemon) die(err error) {
	select {
	case d.fatal <- err:
	default:
	}
}

// pods lists the Pods of the node.
func (d *daemon) pods(ctx context.Context) ([]*corev1.Pod, error) {
	return actors.Ask(ctx, d.system, d.node, func(reply chan<- []*corev1.Pod) any { return nodeactor.List{Reply: reply} })
}

// pod finds a Pod, nil when there is none.
func (d *daemon) pod(ctx context.Context, uid string) (*corev1.Pod, error) {
	return actors.Ask(ctx, d.system, d.node, func(reply chan<- *corev1.Pod) any { return nodeactor.Find{UID: uid, Reply: reply} })
}

// runningPods lists the Pods that have a container running.
func (d *daemon) runningPods(ctx context.Context) ([]*corev1.Pod, error) {
	pods, err := d.pods(ctx)
	return slices.DeleteFunc(pods, func(p *corev1.Pod) bool {
		all := slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses)
		return !slices.ContainsFunc(all, func(c corev1.ContainerStatus) bool { return c.State.Running != nil })
	}), err
}

// untilEnd waits for what ends the daemon: a signal, after which Pods are drained or kept, or a fatal error.
func (d *daemon) untilEnd(ctx context.Context) error {
	for {
		select {
		case err := <-d.fatal:
			d.log.Error("the daemon ends", zap.Error(err))
			return err
		case s := <-d.Signals:
			if s == syscall.SIGHUP {
				d.reload()
				continue
			}
			d.log.Info("the daemon ends", zap.Stringer("reason", s), zap.String("pods", string(d.fate(s))))
			if d.fate(s) == Drain {
				return d.drain(ctx)
			}
			return nil
		}
	}
}

// fate is what becomes of the Pods when signal s ends the daemon.
func (d *daemon) fate(s os.Signal) OnTerm {
	if s == os.Interrupt {
		return Drain
	}
	return d.OnTerm
}

// drain ends all Pods, each with its grace period. It gives up, and leaves what still runs, on a second signal, or when
// supervision.stop.treeDeadline has passed after the longest grace period.
func (d *daemon) drain(ctx context.Context) error {
	d.draining.Store(true)
	if d.cluster != nil {
		d.cluster.node.Nudge() // what ends now is to be replaced elsewhere
	}
	limit := d.drainLimit(ctx)
	late := time.NewTimer(limit)
	defer late.Stop()
	done := make(chan struct{})
	d.system.Root().Send(d.node, nodeactor.Drain{Done: done})
	for {
		select {
		case <-done:
			d.cluster.awaitUnready(ctx)
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-late.C:
			return fmt.Errorf("the node was not drained within %s, its longest grace period and supervision.stop.treeDeadline; Pods may still run", limit)
		case err := <-d.fatal:
			return err
		case s := <-d.Signals:
			if s != syscall.SIGHUP {
				return fmt.Errorf("a second signal (%s) while the node was draining; Pods may still run", s)
			}
		}
	}
}

// drainLimit is how long a drain may take.
func (d *daemon) drainLimit(ctx context.Context) time.Duration {
	ctx, cancel := context.WithTimeout(ctx, stallLimit)
	defer cancel()
	pods, err := d.pods(ctx)
	if err != nil {
		d.log.Warn("list pods", zap.Error(err)) // a node that does not answer is not worth a long wait
	}
	longest := time.Duration(0)
	for _, p := range pods {
		if s := p.Spec.TerminationGracePeriodSeconds; s != nil {
			longest = max(longest, time.Duration(*s)*time.Second)
		}
	}
	return longest + d.current.Load().Supervision.Stop.TreeDeadline.Duration
}

// stop ends the actors, which lets go of the guests.
func (d *daemon) stop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, d.Config.Supervision.Stop.TreeDeadline.Duration)
	defer cancel()
	err := d.system.StopTree(ctx, d.node)
	if c := d.system.Counters(); c != (actors.Counters{}) {
		d.log.Error("bugs were survived", zap.Any("counters", c))
	}
	_ = d.log.Sync()
	return err
}

// stallLimit is how long an actor may be busy with one message, or leave its mailbox unread, on a healthy node.
const stallLimit = 30 * time.Second

// healthy says why the node does not work.
func (d *daemon) healthy() error {
	if stalled := d.system.Registry().Stalled(time.Now(), stallLimit); len(stalled) > 0 {
		s := stalled[0]
		return fmt.Errorf("%d actors are stuck; %s since %s, handling %q", len(stalled), s.ID, s.Since.Format(time.RFC3339), s.Message)
	}
	return nil
}

// runtimeReady says why the node cannot run Pods, for its condition Ready.
func (d *daemon) runtimeReady() error {
	if d.draining.Load() {
		return errors.New("node is shutting down") // the kubelet's words
	}
	if err := d.healthy(); err != nil {
		return err
	}
	return d.network.ready()
}

// ready says why the node cannot take Pods yet.
func (d *daemon) ready() error {
	select {
	case <-d.synced:
		return d.healthy()
	default:
		return errors.New("the manifest directory was not read yet")
	}
}
