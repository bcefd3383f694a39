//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// patience bounds every wait: it only ends tests that would hang, on a machine that is busy with others.
const patience = 2 * time.Minute

// guestImage is the name under which every node's store holds the test guest.
const guestImage = "localhost/e2e/guest:v1"

var (
	bin       = filepath.Join("..", "..", "..", "bin")
	guestFile string
)

func TestMain(m *testing.M) {
	for name, helper := range map[string]func(string) error{serveEnv: serve, getEnv: get} {
		if arg := os.Getenv(name); arg != "" {
			if err := helper(arg); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			os.Exit(0)
		}
	}
	os.Exit(testMain(m))
}

func testMain(m *testing.M) int {
	abs, err := filepath.Abs(bin)
	if err != nil {
		panic(err)
	}
	bin = abs
	for _, b := range []string{"wazlet", "wazlet-shim"} {
		if _, err := os.Stat(filepath.Join(bin, b)); err != nil {
			fmt.Fprintln(os.Stderr, "e2e: run `make test-e2e`:", err)
			return 1
		}
	}
	dir, err := os.MkdirTemp("", "wazlet-e2e-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	guestFile = filepath.Join(dir, "guest.wasm")
	build := exec.Command("go", "build", "-o", guestFile, "./guest")
	build.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "e2e: build the guest: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// node is a wazlet under test with its own state, and whatever it left running.
type node struct {
	t         *testing.T
	root      string
	manifests string
	config    string
	endpoint  string
	nodeName  string
	inside    []string // what to put before a command so that it runs where the node does

	cmd *exec.Cmd
	log *os.File
}

// newNode prepares a node; start runs it.
func newNode(t *testing.T) *node {
	t.Helper()
	dir := t.TempDir()
	n := &node{
		t: t, root: filepath.Join(dir, "state"), manifests: filepath.Join(dir, "manifests"),
		config: filepath.Join(dir, "node.yaml"), nodeName: "edge",
	}
	for _, d := range []string{n.root, n.manifests} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	n.configure("")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n.endpoint = l.Addr().String()
	_ = l.Close()
	t.Cleanup(n.cleanUp)
	n.importImage(guestFile, guestImage)
	return n
}

// configure writes the node's configuration file: extra is YAML of more fields.
func (n *node) configure(extra string) {
	n.t.Helper()
	text := "apiVersion: wazlet.dev/v1alpha1\nkind: NodeConfiguration\nnodeName: " + n.nodeName + "\nlogging: {level: debug, format: json}\n" +
		"podLogsDir: " + filepath.Join(n.root, "log") + "\n" + extra
	write(n.t, n.config, text)
}

// write replaces a file at once, as an editor that is careful does.
func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file+".tmp", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".tmp", file); err != nil {
		t.Fatal(err)
	}
}

// importImage puts a module into the node's store.
func (n *node) importImage(file, name string) {
	n.t.Helper()
	n.wazlet("image", "import", file, "--name", name, "--root-dir", n.root)
}

// wazlet runs the command line and returns what it printed.
func (n *node) wazlet(args ...string) string {
	n.t.Helper()
	out, err := n.try(args...)
	if err != nil {
		n.t.Fatalf("wazlet %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// try runs the command line; the error is an *exec.ExitError when it failed.
func (n *node) try(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(n.t.Context(), patience)
	defer cancel()
	c := exec.CommandContext(ctx, filepath.Join(bin, "wazlet"), args...)
	c.Env = append(os.Environ(), "WAZLET_ENDPOINT=http://"+n.endpoint)
	out, err := c.CombinedOutput()
	return string(out), err
}

// start runs the daemon and waits until it is ready.
func (n *node) start(flags ...string) {
	n.t.Helper()
	n.startOnly(flags...)
	n.await("the node to be ready", func() error {
		_, err := n.get("/readyz")
		return err
	})
}

func (n *node) startOnly(flags ...string) {
	n.t.Helper()
	log, err := os.OpenFile(filepath.Join(n.root, "daemon.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		n.t.Fatal(err)
	}
	args := append([]string{
		"run", "--config", n.config, "--root-dir", n.root, "--manifest-dir", n.manifests,
		"--debug-address", n.endpoint,
	}, flags...)
	line := append(slices.Clone(n.inside), filepath.Join(bin, "wazlet"))
	cmd := exec.Command(line[0], append(line[1:], args...)...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	n.cmd, n.log = cmd, log
}

// signal sends a signal to the daemon and waits for its end.
func (n *node) signal(s syscall.Signal) {
	n.t.Helper()
	if err := n.cmd.Process.Signal(s); err != nil {
		n.t.Fatalf("signal the daemon: %v", err)
	}
	n.wait()
}

// wait waits for the daemon's end and returns its exit code.
func (n *node) wait() int {
	n.t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = n.cmd.Wait()
	}()
	select {
	case <-done:
	case <-time.After(patience):
		_ = n.cmd.Process.Kill()
		<-done
		n.t.Fatalf("the daemon did not end\n%s", n.tail())
	}
	_ = n.log.Close()
	code := n.cmd.ProcessState.ExitCode()
	n.cmd = nil
	return code
}

// cleanUp ends the daemon and every shim of this node.
func (n *node) cleanUp() {
	if n.t.Failed() {
		n.t.Logf("daemon log:\n%s", n.tail())
	}
	if n.cmd != nil {
		_ = n.cmd.Process.Kill()
		n.wait()
	}
	for pid := range n.shims() {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	for _, pid := range n.serves() {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	n.await("the shims to end", func() error {
		if left, shared := n.shims(), n.serves(); len(left)+len(shared) > 0 {
			return fmt.Errorf("still running: %v, %v", left, shared)
		}
		return nil
	})
}

func (n *node) tail() string {
	b, _ := os.ReadFile(filepath.Join(n.root, "daemon.log"))
	return string(b[max(0, len(b)-8000):])
}

// get asks the node's endpoint.
func (n *node) get(path string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+n.endpoint+path, nil)
	if err != nil {
		return nil, err
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: %s: %s", path, res.Status, b)
	}
	return b, err
}

// pods lists the node's Pods by name.
func (n *node) pods() map[string]corev1.Pod {
	n.t.Helper()
	b, err := n.get("/pods")
	if err != nil {
		n.t.Fatal(err)
	}
	var list corev1.PodList
	if err := json.Unmarshal(b, &list); err != nil {
		n.t.Fatal(err)
	}
	pods := make(map[string]corev1.Pod, len(list.Items))
	for _, p := range list.Items {
		pods[strings.TrimSuffix(p.Name, "-"+n.nodeName)] = p
	}
	return pods
}

// await polls until check has nothing to complain about.
func (n *node) await(what string, check func() error) {
	n.t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			n.t.Errorf("waited for %s: %v", what, err)
			n.t.FailNow()
		}
	}
}

// awaitPod waits until the Pod is as check wants it and returns it.
func (n *node) awaitPod(name, what string, check func(corev1.Pod) bool) corev1.Pod {
	n.t.Helper()
	var found corev1.Pod
	n.await(name+" to be "+what, func() error {
		p, ok := n.pods()[name]
		if !ok {
			return errors.New("there is no such Pod")
		}
		if !check(p) {
			status, _ := yaml.Marshal(p.Status)
			return fmt.Errorf("its status is\n%s", status)
		}
		found = p
		return nil
	})
	return found
}

func running(p corev1.Pod) bool {
	return p.Status.Phase == corev1.PodRunning && len(p.Status.ContainerStatuses) > 0 &&
		p.Status.ContainerStatuses[0].State.Running != nil
}

func phase(want corev1.PodPhase) func(corev1.Pod) bool {
	return func(p corev1.Pod) bool { return p.Status.Phase == want }
}

// apply writes a Pod's manifest.
func (n *node) apply(pod corev1.Pod) {
	n.t.Helper()
	pod.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}
	b, err := yaml.Marshal(pod)
	if err != nil {
		n.t.Fatal(err)
	}
	write(n.t, n.manifest(pod.Name), string(b))
}

func (n *node) manifest(pod string) string { return filepath.Join(n.manifests, pod+".yaml") }

// remove deletes a Pod's manifest and waits until the Pod and its processes are gone.
func (n *node) remove(pod string) {
	n.t.Helper()
	uid := string(n.pods()[pod].UID)
	if err := os.Remove(n.manifest(pod)); err != nil {
		n.t.Fatal(err)
	}
	n.await(pod+" to be gone", func() error {
		if _, there := n.pods()[pod]; there {
			return errors.New("it is still listed")
		}
		for pid, bundle := range n.shims() {
			if strings.Contains(bundle, uid) {
				return fmt.Errorf("its shim %d still runs", pid)
			}
		}
		switch _, err := os.Stat(filepath.Join(n.root, "pods", uid)); {
		case err == nil:
			return errors.New("its directory is still there")
		case !errors.Is(err, os.ErrNotExist):
			return err
		}
		return nil
	})
}

// pod is a Pod of one container that runs the test guest with args.
func pod(name string, policy corev1.RestartPolicy, args ...string) corev1.Pod {
	return corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.PodSpec{
			RestartPolicy: policy,
			Containers: []corev1.Container{{
				Name: "main", Image: guestImage, ImagePullPolicy: corev1.PullIfNotPresent, Args: args,
			}},
		},
	}
}

var bundleFlag = regexp.MustCompile(`\x00--bundle\x00([^\x00]+)\x00`)

// shims maps the pids of this node's running shims to their bundles.
func (n *node) shims() map[int]string {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		n.t.Fatal(err)
	}
	found := map[int]string{}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		line, err := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		if err != nil || !bytes.Contains(line, []byte("wazlet-shim")) {
			continue
		}
		if m := bundleFlag.FindSubmatch(line); m != nil && strings.HasPrefix(string(m[1]), n.root) {
			found[pid] = string(m[1])
		}
	}
	return found
}

// shimOf waits for the one shim of a Pod and returns its pid.
func (n *node) shimOf(p corev1.Pod) int {
	n.t.Helper()
	var found int
	n.await("the shim of "+p.Name, func() error {
		var pids []int
		for pid, bundle := range n.shims() {
			if strings.Contains(bundle, string(p.UID)) {
				pids = append(pids, pid)
			}
		}
		if len(pids) != 1 {
			return fmt.Errorf("it has the shims %v", pids)
		}
		found = pids[0]
		return nil
	})
	return found
}
