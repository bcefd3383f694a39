package main

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
	"syscall"
	"time"

	"github.com/prometheus/procfs"
	corev1 "k8s.io/api/core/v1"
)

const (
	imageName   = "localhost/bench/small:v1"
	hostileName = "localhost/bench/hostile:v1"
)

// node measures a standalone node that is given many Pods of the small guest at once, and then leaves them idle.
func (t *tools) node(ctx context.Context, pods int) error {
	n, err := t.startNode(ctx, fmt.Sprintf("node-%d", pods), "--max-pods", "1000")
	if err != nil {
		return err
	}
	defer n.end()
	begin := time.Now()
	if err := n.apply(pods, ""); err != nil {
		return err
	}
	if err := n.awaitRunning(ctx, pods); err != nil {
		return err
	}
	took := time.Since(begin)
	t.printf("\nnode: %d Pods of the small C guest, files written to all Running: %s, %.0f Pods/s\n", pods,
		took.Round(10*time.Millisecond), float64(pods)/took.Seconds())

	const idle = 20 * time.Second
	before, err := n.cpu()
	if err != nil {
		return err
	}
	select {
	case <-time.After(idle):
	case <-ctx.Done():
		return ctx.Err()
	}
	after, err := n.cpu()
	if err != nil {
		return err
	}
	r, err := smaps(n.cmd.Process.Pid)
	if err != nil {
		return err
	}
	t.printf("  daemon with %d idle Pods: Pss %s, anonymous %s, CPU %.2f %% of a core over %s\n", pods, mib(r.Pss), mib(r.Anonymous),
		100*(after-before)/idle.Seconds(), idle)
	p50, p99, err := n.answers(ctx)
	if err != nil {
		return err
	}
	t.printf("  GET /pods while idle: p50 %s, p99 %s\n", p50.Round(10*time.Microsecond), p99.Round(10*time.Microsecond))
	return nil
}

// besideHostile measures how long the daemon takes to answer while guests misbehave, on all CPUs and without limits.
func (t *tools) besideHostile(ctx context.Context) error {
	n, err := t.startNode(ctx, "hostile", "--max-pods", "10")
	if err != nil {
		return err
	}
	defer n.end()
	t.printf("\nGET /pods beside a guest that without end ...\n")
	for _, what := range []string{"spin", "print", "allocate", "recurse"} {
		text := fmt.Sprintf("apiVersion: v1\nkind: Pod\nmetadata: {name: %s}\nspec:\n  containers:\n"+
			"  - {name: main, image: %q, imagePullPolicy: Never, args: [%s]}\n", what, hostileName, what)
		file := filepath.Join(n.manifests, what+".yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			return err
		}
		if err := n.awaitRunning(ctx, 1); err != nil {
			return err
		}
		p50, p99, err := n.answers(ctx)
		if err != nil {
			return err
		}
		t.printf("  %-10s p50 %10s   p99 %10s\n", what, p50.Round(10*time.Microsecond), p99.Round(10*time.Microsecond))
		if err := os.Remove(file); err != nil {
			return err
		}
		if err := n.poll(ctx, time.Minute, func() error {
			b, err := n.get(ctx, "/pods")
			if err == nil && bytes.Contains(b, []byte(what)) {
				err = errors.New("it is still there")
			}
			return err
		}); err != nil {
			return fmt.Errorf("end the guest that does %s: %w", what, err)
		}
	}
	return nil
}

// running is a daemon under measurement.
type running struct {
	cmd            *exec.Cmd
	dir, manifests string
	endpoint       string
}

func (t *tools) startNode(ctx context.Context, name string, flags ...string) (*running, error) {
	dir := filepath.Join(t.dir, name)
	n := &running{dir: dir, manifests: filepath.Join(dir, "manifests")}
	if err := os.MkdirAll(n.manifests, 0o755); err != nil { //nolint:gosec // a directory of the benchmark's own
		return nil, err
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	n.endpoint = l.Addr().String()
	_ = l.Close()
	state := n.state()
	for file, name := range map[string]string{t.guests[0].file: imageName, t.hostile: hostileName} {
		if err := t.load(ctx, state, file, name); err != nil {
			return nil, err
		}
	}
	config := filepath.Join(dir, "node.yaml")
	text := "apiVersion: wazlet.dev/v1alpha1\nkind: NodeConfiguration\nnodeName: bench\npodLogsDir: " + filepath.Join(state, "log") + "\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(dir, "daemon.log"))
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }()
	n.cmd = exec.Command(t.wazlet, append([]string{ //nolint:noctx // ended by signals, to drain
		"run", "--config", config, "--root-dir", state, "--manifest-dir", n.manifests, "--debug-address", n.endpoint,
	}, flags...)...)
	n.cmd.Stdout, n.cmd.Stderr = log, log
	if err := n.cmd.Start(); err != nil {
		return nil, err
	}
	return n, n.poll(ctx, time.Minute, func() error {
		_, err := n.get(ctx, "/readyz")
		return err
	})
}

// load puts a module into the store of a node.
func (t *tools) load(ctx context.Context, state, file, name string) error {
	out, err := exec.CommandContext(ctx, t.wazlet, "image", "import", file, "--name", name, "--root-dir", state).CombinedOutput()
	if err != nil {
		return fmt.Errorf("import %s: %w\n%s", file, err, out)
	}
	return nil
}

// state is the node's rootDir.
func (n *running) state() string { return filepath.Join(n.dir, "state") }

// end drains the node, and makes sure that nothing of it is left.
func (n *running) end() {
	_ = n.cmd.Process.Signal(os.Interrupt)
	timer := time.AfterFunc(4*time.Minute, func() { _ = n.cmd.Process.Signal(syscall.SIGKILL) })
	defer timer.Stop()
	_ = n.cmd.Wait()
	_ = endShims(n.dir)
}

// apply writes the manifests of so many Pods of the small guest. Without a class they have the default isolation.
func (n *running) apply(pods int, class string) error {
	for i := range pods {
		text := fmt.Sprintf("apiVersion: v1\nkind: Pod\nmetadata: {name: p%05d}\nspec:\n", i)
		if class != "" {
			text += "  runtimeClassName: " + class + "\n"
		}
		text += fmt.Sprintf("  containers:\n  - {name: main, image: %q, imagePullPolicy: Never}\n", imageName)
		file := filepath.Join(n.manifests, fmt.Sprintf("p%05d.yaml", i))
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

func (n *running) awaitRunning(ctx context.Context, pods int) error {
	return n.poll(ctx, 10*time.Minute, func() error {
		b, err := n.get(ctx, "/pods")
		if err != nil {
			return err
		}
		var list corev1.PodList
		if err := json.Unmarshal(b, &list); err != nil {
			return err
		}
		up := 0
		for _, p := range list.Items {
			if p.Status.Phase == corev1.PodRunning {
				up++
			}
		}
		if up < pods {
			return fmt.Errorf("%d of %d Pods run", up, pods)
		}
		return nil
	})
}

func (n *running) poll(ctx context.Context, patience time.Duration, check func() error) error {
	return n.pollEvery(ctx, patience, 100*time.Millisecond, check)
}

func (n *running) pollEvery(ctx context.Context, patience, every time.Duration, check func() error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		}
	}
}

func (n *running) get(ctx context.Context, path string) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+n.endpoint+path, nil)
	if err != nil {
		return nil, err
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("GET %s: %s", path, res.Status)
	}
	return io.ReadAll(res.Body)
}

// cpu is the daemon's user and system time so far, in seconds.
func (n *running) cpu() (float64, error) {
	p, err := procfs.NewProc(n.cmd.Process.Pid)
	if err != nil {
		return 0, err
	}
	s, err := p.Stat()
	return s.CPUTime(), err
}

// answers measures how long the daemon takes to list its Pods.
func (n *running) answers(ctx context.Context) (p50, p99 time.Duration, err error) {
	var took []time.Duration
	for range 100 {
		begin := time.Now()
		if _, err := n.get(ctx, "/pods"); err != nil {
			return 0, 0, err
		}
		took = append(took, time.Since(begin))
	}
	return quantile(took, 0.5), quantile(took, 0.99), nil
}
