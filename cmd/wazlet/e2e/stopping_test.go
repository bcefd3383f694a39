//go:build e2e

package e2e

import (
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
)

// Guests that have asked for signals, a server with an open request, and a guest that can do nothing about SIGTERM are to end
// within 30 seconds: the first end with their own code, the second answers before it ends, the third is ended.
func TestStopping(t *testing.T) {
	n := newNode(t)
	want := map[string]int32{"web-edge": 0, "plain-edge": 143}
	var handlers []string
	for _, name := range []string{"signals", "c-signals"} {
		module := filepath.Join(bin, "examples", name+".wasm")
		if _, err := os.Stat(module); err != nil && name == "c-signals" && os.Getenv("CI") == "" {
			t.Logf("without the example in C: %v", err)
			continue
		}
		n.importImage(module, "localhost/test/"+name+":v1")
		handlers, want[name+"-edge"] = append(handlers, name), 3
	}
	n.importImage(buildServer(t), "localhost/test/server:v1")
	n.configure("podCIDR: 127.93.0.0/24\n")
	n.start()

	web := pod("web", corev1.RestartPolicyAlways)
	web.Spec.Containers[0].Image = "localhost/test/server:v1"
	web.Spec.Containers[0].Ports = []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}}
	plain := pod("plain", corev1.RestartPolicyAlways, "idle")
	pods := []corev1.Pod{web, plain}
	for _, name := range handlers {
		p := pod(name, corev1.RestartPolicyAlways)
		p.Annotations = map[string]string{"wazlet.dev/signals": "fd"}
		p.Spec.Containers[0].Image = "localhost/test/" + name + ":v1"
		pods = append(pods, p)
	}
	for _, p := range pods {
		grace := int64(30)
		p.Spec.TerminationGracePeriodSeconds = &grace
		n.apply(p)
	}
	n.awaitPod("plain", "running", running)
	for _, name := range handlers {
		n.logs(name, "work 0")
	}
	address := n.awaitPod("web", "running", running).Status.PodIP + ":8080"
	body, write := io.Pipe()
	answer := make(chan string, 1)
	go func() { answer <- post("http://"+address, body) }()
	if _, err := io.WriteString(write, "begun, "); err != nil {
		t.Fatal(err)
	}
	n.logs("web", "request")

	if err := n.cmd.Process.Signal(syscall.SIGINT); err != nil { // which ends the Pods, and then the daemon
		t.Fatal(err)
	}
	n.await("new clients to be refused", func() error {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			_ = conn.Close()
			return errors.New("one was taken")
		}
		return nil
	})
	if _, err := io.WriteString(write, "and finished"); err != nil {
		t.Fatal(err)
	}
	_ = write.Close()
	if got := <-answer; got != "begun, and finished" {
		t.Errorf("the open request was answered with %q", got)
	}
	if code := n.wait(); code != 0 {
		t.Errorf("the daemon ended with %d", code)
	}
	if diff := cmp.Diff(want, n.exitCodes()); diff != "" {
		t.Errorf("exit codes by Pod (-want +got): %s", diff)
	}
}

// exitCodes are those of the Pods' containers, from the daemon's log.
func (n *node) exitCodes() map[string]int32 {
	n.t.Helper()
	b, err := os.ReadFile(filepath.Join(n.root, "daemon.log"))
	if err != nil {
		n.t.Fatal(err)
	}
	codes := map[string]int32{}
	for line := range strings.Lines(string(b)) {
		var entry struct {
			Pod      string `json:"pod"`
			ExitCode *int32 `json:"exit_code"`
		}
		if json.Unmarshal([]byte(line), &entry) == nil && entry.ExitCode != nil {
			codes[entry.Pod] = *entry.ExitCode
		}
	}
	return codes
}

// post returns the answer's body, or what went wrong.
func post(url string, body io.Reader) string {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Post(url, "text/plain", body)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		return err.Error()
	}
	return string(got)
}

func buildServer(t *testing.T) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "server.wasm")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", out, "./server")
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build the server: %v\n%s", err, text)
	}
	return out
}
