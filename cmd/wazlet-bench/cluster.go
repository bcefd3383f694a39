package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

// benchNetns is the network namespace of the control plane and of both nodes.
const benchNetns = "wazlet-bench"

// outside starts a control plane and measures in its network namespace, by this program again.
func outside(ctx context.Context, bin, counts, only string, stdout, stderr io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "wazlet-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	devcluster, plane := filepath.Join(bin, "devcluster"), filepath.Join(dir, "plane")
	self, err := os.Executable()
	if err != nil {
		return err
	}
	defer func() {
		down, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		if out, e := exec.CommandContext(down, devcluster, "down", "--dir", plane, "--purge").CombinedOutput(); e != nil {
			err = errors.Join(err, fmt.Errorf("stop the control plane: %w\n%s", e, out))
		}
	}()
	if out, err := exec.CommandContext(ctx, devcluster, "up", "--dir", plane, "--netns", benchNetns).CombinedOutput(); err != nil {
		return fmt.Errorf("start the control plane (it needs root): %w\n%s", err, out)
	}
	// Not ip netns exec: that hides the cgroups, too.
	cmd := exec.CommandContext(ctx, "nsenter", "--net=/run/netns/"+benchNetns, self, "--bin", bin, "--pods", counts, "--only", only, "--inside", plane)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = time.Minute
	cmd.Stdout, cmd.Stderr = stdout, stderr
	return cmd.Run()
}

// contender is a node under measurement.
type contender struct {
	name, node string
	image      string
}

// inside measures both nodes on the control plane whose directory is plane.
func (t *tools) inside(ctx context.Context, plane, only string, counts []int) error {
	config, err := clientcmd.BuildConfigFromFlags("", filepath.Join(plane, "admin.kubeconfig"))
	if err != nil {
		return err
	}
	config.QPS = -1                                  // what is measured is not us
	config.ContentType = runtime.ContentTypeProtobuf // as that of controllers, which create most Pods
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	ours, err := t.startJoined(ctx, plane)
	if err != nil {
		return err
	}
	defer ours.end()
	theirs, err := t.startVirtualKubelet(ctx, plane)
	if err != nil {
		return err
	}
	defer func() { _ = theirs.Process.Kill(); _ = theirs.Wait() }()
	all := []contender{{name: "wazlet", node: "bench", image: imageName}, {name: "vk mock", node: "vk", image: "nothing"}}
	all = slices.DeleteFunc(all, func(c contender) bool { return only != "" && c.node != only })
	for _, c := range all {
		if err := awaitNode(ctx, client, c.node); err != nil {
			return err
		}
	}
	t.printf("\ncluster: control plane and nodes on this machine, load average %s\n", loadAverage())
	t.printf("  %-8s %5s   %-44s %s\n", "", "Pods", "create to Ready: p50, p99, Pods/s", "delete to gone: p50, p99, Pods/s")
	w, err := watchPods(ctx, client, meter{ours, plane})
	if err != nil {
		return err
	}
	for _, c := range all { // the module is compiled, connections are made
		if _, err := w.round(ctx, c, 1, nil); err != nil {
			return err
		}
	}
	for _, n := range counts {
		for i := range all {
			if err := t.measure(ctx, w, &all[i], n, ours); err != nil {
				return fmt.Errorf("%s, %d Pods: %w", all[i].name, n, err)
			}
		}
	}
	return nil
}

const (
	// singles is how often one Pod alone is measured,
	singles = 20
	// singlesBudget what ends that sooner: virtual-kubelet takes the whole grace period to delete one.
	singlesBudget = 30 * time.Second
)

func (t *tools) measure(ctx context.Context, w *watcher, c *contender, n int, ours *running) error {
	var sum result
	rounds := 1
	if n == 1 {
		rounds = singles
	}
	before, err := w.requests(ctx)
	if err != nil {
		return err
	}
	idle := func() error { return nil }
	if n == 100 && c.name == "wazlet" {
		idle = func() error { return t.idle(ctx, ours, n) }
	}
	for began := time.Now(); rounds > 0 && (len(sum.created.each) < n || time.Since(began) < singlesBudget); rounds-- {
		r, err := w.round(ctx, *c, n, idle)
		if err != nil {
			return err
		}
		sum.add(r)
	}
	t.printf("  %-8s %5d   %-44s %s\n", c.name, n, &sum.created, &sum.deleted)
	if c.name == "wazlet" {
		pods := len(sum.created.each)
		t.printf("  %-8s ms of CPU a Pod, to Ready: %s; to gone: %s\n", "", sum.created.cost.each(pods), sum.deleted.cost.each(pods))
	}
	if n != 100 {
		return nil
	}
	// Events are written behind.
	select {
	case <-time.After(5 * time.Second):
	case <-ctx.Done():
		return ctx.Err()
	}
	after, err := w.requests(ctx)
	if err != nil {
		return err
	}
	t.printf("  %-8s requests for each of these Pods, ours to create and delete it and the scheduler's included: %s\n", "", difference(before, after, n))
	return nil
}

// idle prints what n Pods take that do nothing.
func (t *tools) idle(ctx context.Context, n *running, pods int) error {
	const period = 20 * time.Second
	select { // the events of the start are still being written
	case <-time.After(5 * time.Second):
	case <-ctx.Done():
		return ctx.Err()
	}
	before, _, err := n.family()
	if err != nil {
		return err
	}
	select {
	case <-time.After(period):
	case <-ctx.Done():
		return ctx.Err()
	}
	after, memory, err := n.family()
	if err != nil {
		return err
	}
	t.printf("  %-8s %5d   idle: %.3f of a core, %s a Pod (Pss of the daemon and all shims)\n", "wazlet", pods,
		(after.all()-before.all())/period.Seconds(), mib(memory.all()/uint64(pods)))
	return nil
}

// startJoined runs a wazlet as the node bench.
func (t *tools) startJoined(ctx context.Context, plane string) (*running, error) {
	dir := filepath.Join(t.dir, "joined")
	state := filepath.Join(dir, "state")
	if err := os.MkdirAll(state, 0o700); err != nil {
		return nil, err
	}
	load := exec.CommandContext(ctx, t.wazlet, "image", "import", t.guests[0].file, "--name", imageName, "--root-dir", state)
	if out, err := load.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("import the guest: %w\n%s", err, out)
	}
	config := filepath.Join(dir, "node.yaml")
	text := strings.Join([]string{
		"apiVersion: wazlet.dev/v1alpha1", "kind: NodeConfiguration", "nodeName: bench", "podLogsDir: " + filepath.Join(state, "log"),
		"rootDir: " + state, "manifestDir: \"\"", "maxPods: 400", "nodeIP: 10.99.0.2", "kubeconfig: " + filepath.Join(dir, "kubeconfig"),
		"bootstrapKubeconfig: " + filepath.Join(plane, "bootstrap.kubeconfig"), "logging: {level: warn}", "",
	}, "\n")
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	n := &running{dir: dir}
	var err error
	n.cmd, err = start(filepath.Join(dir, "log"), nil, t.wazlet, "run", "--config", config)
	return n, err
}

// startVirtualKubelet runs virtual-kubelet's own binary with its mock provider as the node vk.
func (t *tools) startVirtualKubelet(_ context.Context, plane string) (*exec.Cmd, error) {
	config := filepath.Join(t.dir, "vk.json")
	if err := os.WriteFile(config, []byte(`{"vk": {"cpu": "400", "memory": "400Gi", "pods": "400"}}`), 0o600); err != nil {
		return nil, err
	}
	env := []string{
		"KUBELET_PORT=10260", "VKUBELET_POD_IP=10.99.0.3",
		"APISERVER_CERT_LOCATION=" + filepath.Join(plane, "pki", "apiserver.crt"), "APISERVER_KEY_LOCATION=" + filepath.Join(plane, "pki", "apiserver.key"),
	}
	return start(filepath.Join(t.dir, "vk.log"), env, filepath.Join(filepath.Dir(t.wazlet), "virtual-kubelet"), "--nodename", "vk",
		"--provider", "mock", "--provider-config", config, "--kubeconfig", filepath.Join(plane, "admin.kubeconfig"))
}

// start runs a program whose output goes to a file.
func start(logFile string, env []string, name string, args ...string) (*exec.Cmd, error) {
	log, err := os.Create(logFile)
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }()
	cmd := exec.Command(name, args...) //nolint:noctx // ended by signals
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = log, log
	return cmd, cmd.Start()
}

// awaitNode waits until a node is Ready.
func awaitNode(ctx context.Context, client kubernetes.Interface, name string) error {
	return (&running{}).poll(ctx, 2*time.Minute, func() error {
		n, err := client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, c := range n.Status.Conditions {
			if c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue {
				return nil
			}
		}
		return fmt.Errorf("node %s is not ready: %v", name, n.Status.Conditions)
	})
}

func loadAverage() string {
	data, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Join(strings.Fields(string(data))[:3], " ")
}
