//go:build e2e

package e2e

import (
	"errors"
	"io"
	"log" //nolint:depguard // the registry takes no other logger
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
	corev1 "k8s.io/api/core/v1"
)

// Changing the back-off in the file changes what a crash-looping Pod does next, without a restart.
func TestBackoffIsReloaded(t *testing.T) {
	n := newNode(t)
	n.configure("supervision: {module: {backoff: {initial: 5m, max: 5m}}}\n")
	n.start()
	n.apply(pod("looping", corev1.RestartPolicyAlways, "exit", "1"))
	p := n.awaitPod("looping", "in a back-off of five minutes", func(p corev1.Pod) bool {
		return waitingFor(p, "CrashLoopBackOff") && strings.Contains(p.Status.ContainerStatuses[0].State.Waiting.Message, "back-off 5m0s")
	})
	if got := p.Status.ContainerStatuses[0].RestartCount; got != 1 {
		t.Errorf("restartCount is %d before the first back-off, want 1: the first restart is at once", got)
	}
	n.configure("supervision: {module: {backoff: {initial: 1s, max: 1s}}}\n")
	n.awaitPod("looping", "restarted at the new pace", func(p corev1.Pod) bool {
		return p.Status.ContainerStatuses[0].RestartCount >= 4
	})
	n.remove("looping")
}

func waitingFor(p corev1.Pod, reason string) bool {
	return len(p.Status.ContainerStatuses) > 0 && p.Status.ContainerStatuses[0].State.Waiting != nil &&
		p.Status.ContainerStatuses[0].State.Waiting.Reason == reason
}

// A bad manifest is reported with file, line and field; it touches no other Pod, and not the one it was before.
func TestBadManifestTouchesNothing(t *testing.T) {
	n := newNode(t)
	n.start()
	n.apply(pod("good", corev1.RestartPolicyAlways, "idle"))
	pid := n.shimOf(n.awaitPod("good", "running", running))
	good, err := os.ReadFile(n.manifest("good"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, n.manifest("bad"), "apiVersion: v1\nkind: Pod\nmetadata:\n  name: bad\nspec:\n  containers:\n  - name: main\n    imagee: x\n")
	write(t, n.manifest("good"), strings.Replace(string(good), "restartPolicy: Always", "restartPolicy: Sometimes", 1))
	n.await("both problems in the log", func() error {
		log, _ := os.ReadFile(filepath.Join(n.root, "daemon.log"))
		for _, want := range []string{"bad.yaml:8", "imagee", "good.yaml", "Sometimes"} {
			if !strings.Contains(string(log), want) {
				return errors.New("no " + want)
			}
		}
		return nil
	})
	if got := n.shimOf(n.awaitPod("good", "running", running)); got != pid {
		t.Errorf("the good Pod was restarted: pid %d, then %d", pid, got)
	}
	if len(n.pods()) != 1 {
		t.Errorf("there are %d Pods, want 1", len(n.pods()))
	}
}

// A changed file replaces its Pod: the old one ends before the new one starts.
func TestChangedManifestReplacesPod(t *testing.T) {
	n := newNode(t)
	n.start()
	n.apply(pod("web", corev1.RestartPolicyAlways, "idle", "one"))
	before := n.awaitPod("web", "running", running)
	n.awaitLog("web", "idle one")
	n.apply(pod("web", corev1.RestartPolicyAlways, "idle", "two"))
	n.awaitPod("web", "replaced", func(p corev1.Pod) bool { return running(p) && p.UID != before.UID })
	n.awaitLog("web", "idle two")
	for pid, bundle := range n.shims() {
		if strings.Contains(bundle, string(before.UID)) {
			t.Errorf("the shim %d of the old Pod still runs", pid)
		}
	}
	n.remove("web")
}

// Images come from a real registry. One that is not there yet is retried, whatever the restart policy, and does not count
// as a restart.
func TestImageFromRegistry(t *testing.T) {
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	ref := strings.TrimPrefix(server.URL, "http://") + "/tests/guest:v1"
	n := newNode(t)
	n.configure("supervision: {image: {backoff: {initial: 1s, max: 1s}}}\n")
	n.start()
	p := pod("pulled", corev1.RestartPolicyNever, "exit", "7")
	p.Spec.Containers[0].Image = ref
	n.apply(p)
	n.awaitPod("pulled", "waiting for its image", func(p corev1.Pod) bool { return waitingFor(p, "ImagePullBackOff") })
	n.wazlet("push", guestFile, ref)
	done := n.awaitPod("pulled", "failed with 7", func(p corev1.Pod) bool { return failed(p) && terminatedWith(7)(p) })
	status := done.Status.ContainerStatuses[0]
	if status.RestartCount != 0 || !strings.Contains(status.ImageID, "@sha256:") {
		t.Errorf("restartCount %d, imageID %q; want 0 and a digest reference", status.RestartCount, status.ImageID)
	}
	if out := n.wazlet("inspect", ref); !strings.Contains(out, "wasi_snapshot_preview1") {
		t.Errorf("wazlet inspect says\n%s", out)
	}
}

// `wazlet try` runs a module as the node would and passes its exit code on.
func TestTry(t *testing.T) {
	n := newNode(t)
	dir := t.TempDir()
	write(t, filepath.Join(dir, "greeting"), "good morning\n")
	for _, c := range []struct {
		name string
		args []string
		code int
		out  string
	}{
		{"exit code", []string{guestFile, "--", "exit", "42"}, 42, "exiting with 42"},
		{"image", []string{guestImage, "--", "exit", "0"}, 0, "exiting with 0"},
		{"mount", []string{"--mount", dir + ":/in:ro", guestFile, "--", "cat", "/in/greeting"}, 0, "good morning"},
		{"outside", []string{guestFile, "--", "cat", "/etc/hostname"}, 1, "/etc/hostname"},
		{"memory", []string{"--memory", "32Mi", guestFile, "--", "allocate"}, -1, "out of memory"},
		{"no file", []string{"missing.wasm"}, 1, "missing.wasm: no such file"},
		{"bad mount", []string{"--mount", "x", guestFile}, 1, "--mount: must be HOST:GUEST"},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, err := n.in(t).try(append([]string{"try", "--root-dir", n.root}, c.args...)...)
			code := 0
			if exit, ok := errors.AsType[*exec.ExitError](err); ok {
				code = exit.ExitCode()
			} else if err != nil {
				t.Fatal(err)
			}
			if (c.code >= 0 && code != c.code) || (c.code < 0 && code == 0) || !strings.Contains(out, c.out) {
				t.Errorf("exit code %s, want %d; output\n%s\nwant %q in it", strconv.Itoa(code), c.code, out, c.out)
			}
		})
	}
}
