//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wazlet/wazlet/moduleactor/bundle/pty"
	"github.com/wazlet/wazlet/moduleactor/engine/enginetest"
)

// TestExec is kubectl exec, attach and run on a real control plane.
func TestExec(t *testing.T) {
	c := newControlPlane(t, "")
	c.create(corev1.ConfigMap{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"}, ObjectMeta: metav1.ObjectMeta{Name: "tools"},
		BinaryData: map[string][]byte{"five.wasm": enginetest.Command(1, // proc_exit(5)
			[][]byte{enginetest.Import("wasi_snapshot_preview1", "proc_exit", 0, 1)}, 0x41, 5, 0x10, 0)},
	})
	p := template("box", corev1.RestartPolicyAlways, "idle")
	p.Spec.Volumes = []corev1.Volume{{Name: "tools", VolumeSource: corev1.VolumeSource{
		ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "tools"}},
	}}}
	p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "tools", MountPath: "/tools"}}
	p.Spec.Hostname, p.Spec.Subdomain = "first", "boxes"
	p.Spec.HostAliases = []corev1.HostAlias{{IP: "10.0.0.9", Hostnames: []string{"db"}}}
	p.Spec.DNSPolicy, p.Spec.DNSConfig = corev1.DNSNone, &corev1.PodDNSConfig{Nameservers: []string{"192.0.2.53"}, Searches: []string{"a.example"}}
	c.create(corev1.Pod{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}, ObjectMeta: metav1.ObjectMeta{Name: "box", Labels: p.Labels}, Spec: p.Spec,
	})
	c.must("wait", "--for=condition=Ready", "pod/box", "--timeout=60s")
	if got := c.must("get", "pod", "box", "-o", `jsonpath={.status.containerStatuses[0].volumeMounts[?(@.name=="tools")].mountPath} `+
		`{.status.containerStatuses[0].volumeMounts[?(@.readOnly==true)].recursiveReadOnly} {.status.containerStatuses[0].user.linux.uid} {.status.resources}`,
	); got != "/tools Disabled 0 {}" {
		t.Errorf("the API shows mounts, user and resources as %q", got)
	}
	for _, s := range []struct {
		name string
		test func(*controlPlane)
	}{
		{"commands, their streams and exit codes", (*controlPlane).testExecCommands},
		{"binary input and output", (*controlPlane).testExecBinary},
		{"a terminal", (*controlPlane).testExecTerminal},
		{"attach", (*controlPlane).testAttach},
		{"attach to a terminal", (*controlPlane).testAttachTerminal},
		{"run, attach and remove", (*controlPlane).testRun},
		{"as the API server sees it", (*controlPlane).testPassedOn},
		{"a client that is killed", (*controlPlane).testExecClientKilled},
		{"the daemon is killed", (*controlPlane).testExecDaemonKilled},
	} {
		t.Run(s.name, func(t *testing.T) {
			sub := *c
			n := *c.node
			n.t, sub.node = t, &n
			s.test(&sub)
			c.cmd, c.log = n.cmd, n.log
		})
	}
}

// kubectlCommand is a kubectl that a test starts itself.
func (c *controlPlane) kubectlCommand(ctx context.Context, args ...string) *exec.Cmd {
	line := slices.Concat(c.inside, []string{filepath.Join(bin, "kubectl"), "--kubeconfig", filepath.Join(c.dir, "admin.kubeconfig")}, args)
	return exec.CommandContext(ctx, line[0], line[1:]...)
}

func (c *controlPlane) testExecCommands() {
	hosts := "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\n" +
		"fe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n" + c.must("get", "pod", "box", "-o", "jsonpath={.status.podIP}") +
		"\tfirst.boxes.default.svc.cluster.local\tfirst\n\n# Entries added by HostAliases.\n10.0.0.9\tdb\n"
	for _, tt := range []struct {
		name, stdin    string
		args           []string
		code           int
		stdout, stderr string // stderr: part of it
	}{
		{"exit code and streams", "", []string{"exec", "box", "--", "x", "both", "42"}, 42, "to stdout\n", "to stderr\ncommand terminated with exit code 42"},
		{"success", "", []string{"exec", "box", "--", "x", "both", "0"}, 0, "to stdout\n", "to stderr\n"},
		{"stdin", "one\ntwo\n", []string{"exec", "-i", "box", "--", "x", "lines"}, 0, "ready\ngot one\ngot two\nend of input\n", ""},
		{"a module of a volume", "", []string{"exec", "box", "--", "/tools/five.wasm"}, 5, "", "command terminated with exit code 5"},
		{"/etc/hostname", "", []string{"exec", "box", "--", "x", "cat", "/etc/hostname"}, 0, "first\n", ""},
		{"/etc/resolv.conf", "", []string{"exec", "box", "--", "x", "cat", "/etc/resolv.conf"}, 0, "search a.example\nnameserver 192.0.2.53\n", ""},
		{"/etc/hosts", "", []string{"exec", "box", "--", "x", "cat", "/etc/hosts"}, 0, hosts, ""},
		{"no such module", "", []string{"exec", "box", "--", "/tools/six.wasm"}, 127, "", `exec: "/tools/six.wasm": file does not exist in the container`},
	} {
		c.t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			cmd := c.kubectlCommand(ctx, tt.args...)
			var stdout, stderr bytes.Buffer
			cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(tt.stdin), &stdout, &stderr
			err := cmd.Run()
			if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != tt.code || stdout.String() != tt.stdout {
				t.Errorf("%v, want exit code %d; stdout %q, want %q", err, tt.code, stdout.String(), tt.stdout)
			}
			if !strings.Contains(stderr.String(), tt.stderr) {
				t.Errorf("stderr %q, want %q", stderr.String(), tt.stderr)
			}
		})
	}
}

// terminal is a kubectl that a person uses.
type terminal struct {
	c      *controlPlane
	cmd    *exec.Cmd
	master *os.File
	shown  chan []byte
	screen []byte
}

func (c *controlPlane) terminal(ctx context.Context, args ...string) *terminal {
	c.t.Helper()
	master, slave, err := pty.Open()
	if err != nil {
		c.t.Fatal(err)
	}
	cmd := c.kubectlCommand(ctx, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	err = errors.Join(pty.Resize(master, pty.Size{Columns: 80, Rows: 25}), cmd.Start(), slave.Close())
	if err != nil {
		c.t.Fatal(err)
	}
	t := &terminal{c: c, cmd: cmd, master: master, shown: make(chan []byte)}
	go func() {
		defer close(t.shown)
		for {
			buf := make([]byte, 1024)
			n, err := master.Read(buf)
			if err != nil {
				return // EIO: kubectl is gone
			}
			t.shown <- buf[:n]
		}
	}()
	return t
}

// await waits until the screen shows the text.
func (t *terminal) await(text string) {
	t.c.t.Helper()
	for !bytes.Contains(t.screen, []byte(text)) {
		b, ok := <-t.shown
		if !ok {
			t.c.t.Fatalf("the terminal never showed %q, but %q", text, t.screen)
		}
		t.screen = append(t.screen, b...)
	}
}

func (t *terminal) typing(keys string) {
	t.c.t.Helper()
	if _, err := t.master.WriteString(keys); err != nil {
		t.c.t.Fatal(err)
	}
}

// end waits for kubectl and returns its exit code.
func (t *terminal) end() int {
	for b := range t.shown {
		t.screen = append(t.screen, b...)
	}
	_ = t.cmd.Wait()
	_ = t.master.Close()
	return t.cmd.ProcessState.ExitCode()
}

func (c *controlPlane) testExecTerminal() {
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	t := c.terminal(ctx, "exec", "-it", "box", "--", "x", "lines")
	t.await("ready\r\n")
	t.typing("hellp\x7fo\r")
	t.await("got hello\r\n")
	t.typing("\x04")
	t.await("end of input\r\n")
	if code := t.end(); code != 0 {
		c.t.Errorf("exit code %d; screen %q", code, t.screen)
	}
	t = c.terminal(ctx, "exec", "-it", "box", "--", "x", "spin")
	t.await("spinning\r\n")
	t.typing("\x03")
	if code := t.end(); code != 130 {
		c.t.Errorf("^C: exit code %d; screen %q", code, t.screen)
	}
}

// beside waits until as many processes run in Pod box beside its guest.
func (c *controlPlane) beside(want int) {
	c.t.Helper()
	c.await(fmt.Sprintf("%d commands to run", want), func() error {
		if got := len(c.shims()) - 1; got != want {
			return fmt.Errorf("%d run", got)
		}
		return nil
	})
}

// endless is an input that never ends.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// The end of a client is the end of its command, by WebSocket, as kubectl does by default, and by SPDY, as API servers
// before 1.36 do. That the input is not read either is found out by pings, which SPDY has none of.
func (c *controlPlane) testExecClientKilled() {
	in, hold := io.Pipe() // stays open
	defer hold.Close()
	for _, tt := range []struct {
		sockets, guest string
		stdin          io.Reader
	}{
		{"true", "spin", in},
		{"true", "idle", in},
		{"true", "print", in},
		{"true", "lines", in},
		{"true", "idle", nil},
		{"true", "idle", endless{}},
		{"false", "spin", in},
		{"false", "idle", in},
		{"false", "print", in},
	} {
		line := []string{"exec", "box", "--", "x", tt.guest}
		if tt.stdin != nil {
			line = slices.Insert(line, 1, "-i")
		}
		c.t.Logf("WebSocket %s, stdin %T: %s", tt.sockets, tt.stdin, strings.Join(line, " "))
		cmd := c.kubectlCommand(c.t.Context(), line...)
		cmd.Env = append(os.Environ(), "KUBECTL_REMOTE_COMMAND_WEBSOCKETS="+tt.sockets)
		if tt.stdin != nil {
			pipe, err := cmd.StdinPipe()
			if err != nil {
				c.t.Fatal(err)
			}
			go func() { _, _ = io.Copy(pipe, tt.stdin) }() // until kubectl is gone, or hold is closed
		}
		if err := cmd.Start(); err != nil {
			c.t.Fatal(err)
		}
		c.beside(1)
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		c.beside(0)
	}
}

// testExecBinary: the end of the input is the end of the guest's, and its output is whole.
func (c *controlPlane) testExecBinary() {
	input := make([]byte, 3<<20)
	if _, err := rand.Read(input); err != nil {
		c.t.Fatal(err)
	}
	for _, sockets := range []string{"true", "false"} {
		ctx, cancel := context.WithTimeout(c.t.Context(), patience)
		defer cancel()
		cmd := c.kubectlCommand(ctx, "exec", "-i", "box", "--", "x", "copy")
		cmd.Env = append(os.Environ(), "KUBECTL_REMOTE_COMMAND_WEBSOCKETS="+sockets)
		var stderr bytes.Buffer
		cmd.Stdin, cmd.Stderr = bytes.NewReader(input), &stderr
		if out, err := cmd.Output(); err != nil || !bytes.Equal(out, input) {
			c.t.Errorf("WebSocket %s: %v, %d bytes of %d; %s", sockets, err, len(out), len(input), &stderr)
		}
	}
}

// testPassedOn: the API server translated nothing, because the node declares that it need not.
func (c *controlPlane) testPassedOn() {
	metrics := c.must("get", "--raw", "/metrics")
	for _, kind := range []string{"exec", "attach"} {
		if want := fmt.Sprintf(`apiserver_websocket_streaming_requests_total{proxy_type="proxied_to_kubelet",subresource=%q}`, kind); !strings.Contains(metrics, want) {
			c.t.Errorf("the API server has no %s", want)
		}
	}
	if strings.Contains(metrics, `{proxy_type="translated_at_apiserver"`) {
		c.t.Error("the API server has translated something")
	}
}

func (c *controlPlane) testExecDaemonKilled() {
	cmd := c.kubectlCommand(c.t.Context(), "exec", "box", "--", "x", "spin")
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.beside(1)
	c.signal(syscall.SIGKILL)
	_ = cmd.Wait() // the API server calls a lost connection the end of the command
	c.beside(0)
	if out, err := c.kubectl("exec", "box", "--", "x", "both", "0"); err == nil || !strings.Contains(out, "connection refused") {
		c.t.Errorf("without a daemon: %v, %s", err, out)
	}
	c.startOnly()
	c.await("kubectl exec to work again", func() error {
		out, err := c.kubectl("exec", "box", "--", "x", "both", "0")
		return because(err, out)
	})
}

// talker is a Pod whose guest answers lines.
func (c *controlPlane) talker(name string, tty bool) {
	c.t.Helper()
	p := template(name, corev1.RestartPolicyNever, "lines")
	p.Spec.Containers[0].Stdin, p.Spec.Containers[0].TTY = true, tty
	c.create(corev1.Pod{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}, ObjectMeta: metav1.ObjectMeta{Name: name, Labels: p.Labels}, Spec: p.Spec,
	})
	c.must("wait", "--for=condition=Ready", "pod/"+name, "--timeout=60s")
}

func (c *controlPlane) testAttach() {
	c.talker("talk", false)
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	cmd := c.kubectlCommand(ctx, "attach", "-i", "talk")
	in, err := cmd.StdinPipe()
	if err != nil {
		c.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		c.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	if _, err := in.Write([]byte("one\n")); err != nil {
		c.t.Fatal(err)
	}
	var got []byte
	for buf := make([]byte, 100); !bytes.Contains(got, []byte("got one\n")); {
		n, err := out.Read(buf)
		if got = append(got, buf[:n]...); err != nil {
			c.t.Fatalf("kubectl attach printed %q, %v", got, err)
		}
	}
	c.must("delete", "pod", "talk", "--grace-period=1") // ends the guest, and that the session
	_ = cmd.Wait()
}

func (c *controlPlane) testAttachTerminal() {
	c.talker("term", true)
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	t := c.terminal(ctx, "attach", "-it", "term")
	t.typing("hellp\x7fo\r")
	t.await("got hello\r\n")
	t.typing("\x04")
	t.await("end of input\r\n")
	if code := t.end(); code != 0 {
		c.t.Errorf("exit code %d; screen %q", code, t.screen)
	}
	if out := c.must("logs", "term"); !strings.Contains(out, "got hello") {
		c.t.Errorf("log: %q", out)
	}
	c.must("delete", "pod", "term", "--grace-period=1")
}

func (c *controlPlane) testRun() {
	overrides := `{"spec":{"nodeSelector":{"kubernetes.io/arch":"wasm32-wasi"},"tolerations":[{"key":"kubernetes.io/arch","operator":"Exists"}]}}`
	out, err := c.kubectlWith([]byte("one\ntwo\n"), "run", "once", "--image="+guestImage, "--image-pull-policy=IfNotPresent",
		"--restart=Never", "-i", "--rm", "--overrides="+overrides, "--", "lines")
	if err != nil || !strings.Contains(out, "got one\ngot two\nend of input\n") {
		c.t.Errorf("%v: %s", err, out)
	}
}
