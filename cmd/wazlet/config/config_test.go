package config

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
	"go.uber.org/goleak"
	"sigs.k8s.io/yaml"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	rootHost = Host{Name: "Edge-1", Root: true}
	userHost = Host{Name: "edge-1", StateDir: "/home/u/.local/state", ConfigDir: "/home/u/.config"}
)

const head = "apiVersion: wazlet.dev/v1alpha1\nkind: NodeConfiguration\n"

func TestDefault(t *testing.T) {
	for name, tc := range map[string]struct {
		host                          Host
		root, logs, manifests, podnet string
	}{
		"root": {rootHost, "/var/lib/wazlet", "/var/log/pods", "/etc/wazlet/manifests", "127.88.0.0/16"},
		"user": {userHost, "/home/u/.local/state/wazlet", "/home/u/.local/state/wazlet/log", "/home/u/.config/wazlet/manifests", "127.88.0.0/16"},
	} {
		t.Run(name, func(t *testing.T) {
			c := tc.host.Default()
			got := []string{c.NodeName, c.RootDir, c.PodLogsDir, c.ManifestDir, c.PodCIDR}
			if d := cmp.Diff([]string{"edge-1", tc.root, tc.logs, tc.manifests, tc.podnet}, got); d != "" {
				t.Error(d)
			}
			if err := c.Validate(); err != nil {
				t.Errorf("the default is not valid: %v", err)
			}
		})
	}
}

func TestThisHost(t *testing.T) {
	t.Setenv("HOME", "/home/u")
	t.Setenv("XDG_STATE_HOME", "relative/is/ignored")
	t.Setenv("XDG_CONFIG_HOME", "/xdg")
	h := ThisHost()
	if h.StateDir != "/home/u/.local/state" || h.ConfigDir != "/xdg" || h.Root != (os.Geteuid() == 0) {
		t.Errorf("got %+v", h)
	}
}

// The example of architecture.md §5 must be accepted, and printing it must lose nothing.
func TestWholeFile(t *testing.T) {
	text := head + `
nodeName: edge-1
rootDir: /var/lib/wazlet
podLogsDir: /var/log/pods
kubeconfig: ""
bootstrapKubeconfig: ""
manifestDir: /etc/wazlet/manifests
maxPods: 250
podCIDR: ""
isolation: {default: process, runtimeClasses: {wasm-shared: shared}, sharing: node, shared: {idleTimeout: 10m, hostPaths: []}}
supervision:
  module: {backoff: {initial: 10s, max: 5m, factor: 2, resetAfter: 10m}}
  image:  {backoff: {initial: 10s, max: 5m, factor: 2}}
  pod:    {maxCrashes: 5, window: 10m, onExceeded: failPod, backoff: {initial: 1s, max: 1m, factor: 2}}
  node:   {maxResumes: 10, window: 10m}
  stop:   {killWait: 2s, treeDeadline: 30s}
  overrides:
  - {namespace: batch, module: {backoff: {initial: 1s, max: 30s}}}
httpHandlers: {timeout: {default: 30s, max: 10m}, maxConcurrency: {default: 32, max: 256}, maxBodyBytes: {default: 10Mi, max: 1Gi}}
images: {maxParallelPulls: 4, maxParallelCompiles: 1, insecureRegistries: [], gc: {highPercent: 85, lowPercent: 80}}
kubeletServer: {address: 0.0.0.0, port: 10250}
debug: {address: 127.0.0.1, port: 10248}
logging: {level: info, format: json}
`
	f, err := decode("node.yaml", []byte(text), rootHost)
	if err != nil {
		t.Fatal(err)
	}
	c := rootHost.complete(f.config)
	if err := f.validate(c); err != nil {
		t.Fatal(err)
	}
	want := rootHost.Default()
	want.Supervision.Overrides = c.Supervision.Overrides
	if d := cmp.Diff(want, c); d != "" {
		t.Errorf("the documented file is not the default: %s", d)
	}
	if got := c.Supervision.For("batch", nil).Module.Backoff.Max.Duration; got != 30*time.Second {
		t.Errorf("override: max is %v", got)
	}

	printed, err := yaml.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	again, err := decode("printed", printed, userHost)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(c, userHost.complete(again.config)); d != "" {
		t.Errorf("what is printed reads as another configuration: %s", d)
	}
}

func TestFileKeepsDefaults(t *testing.T) {
	f, err := decode("f", []byte(head+"supervision: {module: {backoff: {initial: 1s}}}\nisolation: {runtimeClasses: {fast: shared}}\nimages: {insecureRegistries: null}\n"), rootHost)
	if err != nil {
		t.Fatal(err)
	}
	want := rootHost.Default()
	want.Supervision.Module.Backoff.Initial.Duration = time.Second
	want.Isolation.RuntimeClasses = map[string]IsolationMode{"fast": IsolationShared}
	if d := cmp.Diff(want, rootHost.complete(f.config)); d != "" {
		t.Error(d)
	}
}

func TestFileProblems(t *testing.T) {
	for name, tc := range map[string]struct {
		text string
		want []string
	}{
		"empty":  {"# nothing\n", []string{"f: the file is empty; it must hold one NodeConfiguration"}},
		"two":    {head + "---\na: b\n", []string{"f:4: a second document; the file must hold one NodeConfiguration"}},
		"syntax": {"a: [", []string{"f:1: not valid YAML: did not find expected node content"}},
		"another kind": {"apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n", []string{
			`f:1: apiVersion: must be wazlet.dev/v1alpha1 (got "kubelet.config.k8s.io/v1beta1")`,
			`f:2: kind: must be NodeConfiguration (got "KubeletConfiguration")`,
		}},
		"no head": {"maxPods: 3\n", []string{
			`f:1: apiVersion: must be wazlet.dev/v1alpha1 (got "")`, `f:1: kind: must be NodeConfiguration (got "")`,
		}},
		"decoding, all at once": {head + "maxpods: 3\nsupervision:\n  stop:\n    killWait: 2\n    killWhait: 2s\nmaxPods: 1\nmaxPods: 2\n", []string{
			"f:3: maxpods: unknown field; did you mean maxPods?",
			"f:6: supervision.stop.killWait: must be a duration such as 10s, 5m or 1h30m (got 2)",
			"f:7: supervision.stop.killWhait: unknown field; did you mean killWait?",
			"f:9: maxPods: is given twice; first in line 8",
		}},
		"values, all at once": {head + `nodeName: Not_A_Name
rootDir: here
manifestDir: there
kubeconfig: k
bootstrapKubeconfig: b
maxPods: 0
podCIDR: 10.0.0.1/8
isolation:
  {default: vm, sharing: pod, shared: {idleTimeout: 1ms, hostPaths: [data], memoryBytes: 1},
  runtimeClasses: {x: docker}}
supervision:
  module: {backoff: {initial: -1s, factor: 0.5}}
images:
  maxParallelPulls: 0
  compileTimeout: 1ms
  insecureRegistries:
  - ok.example:5000
  - "http://bad"
  gc: {highPercent: 70, lowPercent: 80}
kubeletServer: {address: localhost, port: 70000, systemLogs: {enabled: false, query: true, dir: log}}
logging: {level: loud, format: xml}
guestLimits:
  {openFiles: 3, outputBytesPerSecond: 1, memoryBytes: 65535, stackBytes: 50000001, tableElements: 1023,
  directoryEntries: 15, pollSubscriptions: 65537}
`, []string{
			`f:3: nodeName: a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*') (got "Not_A_Name")`,
			`f:4: rootDir: must be an absolute path (got "here")`,
			`f:5: manifestDir: must be an absolute path (got "there")`,
			`f:6: kubeconfig: must be an absolute path (got "k")`,
			`f:7: bootstrapKubeconfig: must be an absolute path (got "b")`,
			`f:8: maxPods: must be between 1 and 100000 (got 0)`,
			`f:9: podCIDR: must be a network, not an address in it; did you mean 10.0.0.0/8? (got "10.0.0.1/8")`,
			`f:25: guestLimits.memoryBytes: must be between 65536 and 4294967296 (got 65535)`,
			`f:25: guestLimits.stackBytes: must be between 65536 and 50000000 (got 50000001)`,
			`f:25: guestLimits.tableElements: must be between 1024 and 67108864 (got 1023)`,
			`f:25: guestLimits.openFiles: must be between 16 and 1048576 (got 3)`,
			`f:25: guestLimits.outputBytesPerSecond: must be between 1024 and 1073741824, or 0 for no limit (got 1)`,
			`f:26: guestLimits.directoryEntries: must be between 16 and 65536 (got 15)`,
			`f:26: guestLimits.pollSubscriptions: must be between 64 and 65536 (got 65537)`,
			`f:11: isolation.default: must be one of "process", "shared" (got "vm")`,
			`f:11: isolation.sharing: must be one of "node", "namespace" (got "pod")`,
			`f:12: isolation.runtimeClasses[x]: must be one of "process", "shared" (got "docker")`,
			`f:11: isolation.shared.idleTimeout: must be at least 1s (got "1ms")`,
			`f:11: isolation.shared.memoryBytes: must be between 67108864 and 1125899906842624, or 0 for no limit (got 1)`,
			`f:11: isolation.shared.hostPaths[0]: must be a clean absolute path (got "data")`,
			`f:14: supervision.module.backoff.initial: must be from 1ms to max, which is 5m0s (got "-1s")`,
			`f:14: supervision.module.backoff.factor: must be from 1 to 1000 (got 0.5)`,
			`f:16: images.maxParallelPulls: must be between 1 and 100 (got 0)`,
			`f:17: images.compileTimeout: must be between 1s and 30m0s (got "1ms")`,
			`f:20: images.insecureRegistries[1]: must be HOST or HOST:PORT, such as registry.example:5000 (got "http://bad")`,
			`f:21: images.gc.lowPercent: must be less than images.gc.highPercent, which is 70 (got 80)`,
			`f:22: kubeletServer.address: must be an IP address such as 127.0.0.1 or ::1 (got "localhost")`,
			`f:22: kubeletServer.port: must be between 0 and 65535 (got 70000)`,
			`f:22: kubeletServer.systemLogs.dir: must be an absolute path (got "log")`,
			`f:22: kubeletServer.systemLogs.query: needs systemLogs.enabled (got true)`,
			`f:23: logging.level: must be one of "debug", "info", "warn", "error" (got "loud")`,
			`f:23: logging.format: must be one of "json", "text" (got "xml")`,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := decode("f", []byte(tc.text), rootHost)
			if err == nil {
				err = f.validate(rootHost.complete(f.config))
			}
			if err == nil {
				t.Fatal("no error")
			}
			if d := cmp.Diff(tc.want, strings.Split(err.Error(), "\n")); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	good := filepath.Join(dir, "good.yaml")
	write(t, good, head+"nodeName: n1\nmaxPods: 7\n")
	c, err := Load(good)
	if err != nil || c.MaxPods != 7 {
		t.Errorf("got %d, %v", c.MaxPods, err)
	}
	big := filepath.Join(dir, "big.yaml")
	write(t, big, strings.Repeat("#", maxFile+1))
	for path, want := range map[string]string{
		big:                          "at most 1048576 bytes is allowed (got 1048577)",
		filepath.Join(dir, "absent"): "no such file or directory",
		dir:                          "is a directory",
	} {
		if _, err := Load(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Load(%s): %v, want %q", path, err, want)
		}
	}
}

func TestRegistries(t *testing.T) {
	for s, ok := range map[string]bool{
		"registry.example": true, "registry.example:5000": true, "localhost:5000": true, "10.0.0.1": true, "10.0.0.1:80": true,
		"[::1]:5000": true, "[::1]": true, "": false, ":5000": false, "a:b": false, "a:0": false, "a:70000": false, "::1": false,
		"[10.0.0.1]:1": false, "a/b": false, "[::1": false, "a:1:2": false,
	} {
		if got := len(hostPort(nil, s)) == 0; got != ok {
			t.Errorf("hostPort(%q) accepted: %t, want %t", s, got, ok)
		}
	}
}

func parse(t *testing.T, args ...string) *Flags {
	t.Helper()
	fs := pflag.NewFlagSet("test", pflag.ContinueOnError)
	f := BindFlags(fs)
	if err := fs.Parse(args); err != nil {
		t.Fatal(err)
	}
	return f
}

func TestFlagsOverride(t *testing.T) {
	path := filepath.Join(t.TempDir(), "node.yaml")
	write(t, path, head+"nodeName: from-file\nmaxPods: 7\nlogging: {level: warn, format: text}\n")
	c, err := parse(t, "--config", path, "--max-pods=9", "--log-level", "debug", "--debug-address", "localhost:0",
		"--kubelet-address", ":1234", "--manifest-dir", "rel/dir", "--root-dir", "/r", "--pod-cidr", "10.0.0.0/8").resolve(userHost)
	if err != nil {
		t.Fatal(err)
	}
	want := userHost.Default()
	want.NodeName, want.MaxPods, want.PodCIDR = "from-file", 9, "10.0.0.0/8"
	want.Egress.Deny = []string{"127.0.0.0/8", "169.254.0.0/16", "::1", "fe80::/10", "224.0.0.0/4", "255.255.255.255", "ff00::/8", "fd00:ec2::254", "fd20:ce::254"}
	want.Logging = Logging{Level: LevelDebug, Format: FormatText}
	want.Debug, want.KubeletServer.Listener = Listener{"127.0.0.1", 0}, Listener{"0.0.0.0", 1234}
	cwd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	want.ManifestDir, want.RootDir, want.PodLogsDir = filepath.Join(cwd, "rel/dir"), "/r", "/r/log"
	want.KubeletServer.SystemLogs.Dir = "/r/log"
	if d := cmp.Diff(want, c); d != "" {
		t.Error(d)
	}
}

func TestFlagProblems(t *testing.T) {
	for _, args := range [][]string{{"--debug-address", "nowhere"}, {"--kubelet-address", "a:99999"}, {"--max-pods", "x"}} {
		fs := pflag.NewFlagSet("test", pflag.ContinueOnError)
		BindFlags(fs)
		if err := fs.Parse(args); err == nil || !strings.Contains(err.Error(), args[0]) {
			t.Errorf("%v: %v, want an error that names the flag", args, err)
		}
	}
	_, err := parse(t, "--node-name", "", "--max-pods", "-1", "--bootstrap-kubeconfig", "/b").resolve(Host{Root: true})
	want := []string{
		"nodeName: must be set: this machine has no usable host name",
		"kubeconfig: must be set: bootstrapKubeconfig asks for a kubeconfig; this is where it is written",
		"maxPods: must be between 1 and 100000 (got -1)",
	}
	if err == nil {
		t.Fatal("no error")
	}
	if d := cmp.Diff(want, strings.Split(err.Error(), "\n")); d != "" {
		t.Error(d)
	}
}

func TestReload(t *testing.T) {
	path := filepath.Join(t.TempDir(), "node.yaml")
	flags := parse(t, "--config", path, "--node-name", "n", "--log-format", "text")
	write(t, path, head+"maxPods: 7\n")
	running, err := flags.Resolve()
	if err != nil {
		t.Fatal(err)
	}
	write(t, path, head+`maxPods: 8
nodeName: overridden-by-flag
isolation: {runtimeClasses: {}}
supervision: {module: {backoff: {max: 30s}}, overrides: [{namespace: x, module: {backoff: {initial: 1s}}}]}
images: {maxParallelPulls: 1, gc: {highPercent: 90}}
logging: {level: debug, format: json}
`)
	u := flags.Reload(running)
	if u.Err != nil {
		t.Fatal(u.Err)
	}
	want := running
	want.Supervision.Module.Backoff.Max.Duration = 30 * time.Second
	want.Supervision.Overrides = u.Config.Supervision.Overrides
	want.Images.GC.HighPercent = 90
	want.Logging.Level = LevelDebug
	if d := cmp.Diff(want, u.Config); d != "" {
		t.Errorf("config: %s", d)
	}
	if d := cmp.Diff([]string{"images.gc.highPercent", "logging.level", "supervision.module.backoff.max", "supervision.overrides"}, u.Changed); d != "" {
		t.Errorf("changed: %s", d)
	}
	if d := cmp.Diff([]string{"images.maxParallelPulls", "isolation.runtimeClasses.wasm-shared", "maxPods"}, u.NeedRestart); d != "" {
		t.Errorf("need restart: %s", d)
	}

	write(t, path, head+"maxPods: 0\nlogging: {level: loud}\n")
	bad := flags.Reload(u.Config)
	if d := cmp.Diff(u.Config, bad.Config); d != "" {
		t.Errorf("a bad file changed something: %s", d)
	}
	if n := len(strings.Split(text(bad.Err), "\n")); n != 2 {
		t.Errorf("want both problems, got %v", bad.Err)
	}
}

func TestReloadWithoutFile(t *testing.T) {
	c := rootHost.Default()
	if d := cmp.Diff(Update{Config: c}, parse(t).Reload(c)); d != "" {
		t.Error(d)
	}
}

// watching runs Watch on a file and returns what it reports.
func watching(t *testing.T, flags *Flags, again <-chan struct{}) <-chan Update {
	t.Helper()
	running, err := flags.Resolve()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	updates, done := make(chan Update, 10), make(chan error, 1)
	go func() { done <- flags.Watch(ctx, running, again, func(u Update) { updates <- u }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Watch: %v", err)
		}
	})
	return updates
}

func next(t *testing.T, updates <-chan Update) Update {
	t.Helper()
	select {
	case u := <-updates:
		return u
	case <-time.After(30 * time.Second):
		t.Fatal("no update")
		return Update{}
	}
}

func TestWatch(t *testing.T) {
	path := filepath.Join(t.TempDir(), "node.yaml")
	write(t, path, head+"nodeName: n1\n")
	again := make(chan struct{})
	updates := watching(t, parse(t, "--config", path), again)

	// Watch is known to have begun once it answers.
	again <- struct{}{}
	if u := next(t, updates); u.Changed != nil || u.NeedRestart != nil || u.Err != nil {
		t.Fatalf("nothing changed, but got %+v", u)
	}
	write(t, path, head+"nodeName: n1\nsupervision: {stop: {killWait: 7s}}\n")
	u := next(t, updates)
	if d := cmp.Diff([]string{"supervision.stop.killWait"}, u.Changed); d != "" || u.Config.Supervision.Stop.KillWait.Duration != 7*time.Second {
		t.Fatalf("got %+v", u)
	}
	write(t, path, head+"nodeName: n1\nsupervision: {stop: {killWait: soon}}\n")
	if u := next(t, updates); u.Err == nil || u.Config.Supervision.Stop.KillWait.Duration != 7*time.Second {
		t.Fatalf("got %+v", u)
	}
	write(t, path, head+"nodeName: other\nsupervision: {stop: {killWait: 7s}}\n")
	if u := next(t, updates); u.Err != nil || u.Config.NodeName != "n1" || !cmp.Equal(u.NeedRestart, []string{"nodeName"}) {
		t.Fatalf("got %+v", u)
	}
	select {
	case u := <-updates:
		t.Errorf("an update too many: %+v", u)
	default:
	}
}

func TestWatchWithoutFile(t *testing.T) {
	again := make(chan struct{})
	updates := watching(t, parse(t, "--node-name", "n"), again)
	again <- struct{}{}
	if u := next(t, updates); u.Err != nil || u.Changed != nil {
		t.Errorf("got %+v", u)
	}
}

func TestWatchWithoutDirectory(t *testing.T) {
	f := parse(t, "--config", filepath.Join(t.TempDir(), "no", "such.yaml"))
	if err := f.Watch(t.Context(), rootHost.Default(), nil, nil); err == nil {
		t.Error("no error")
	}
}

// write replaces the file at once, so that nobody reads half of it.
func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path+".tmp", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		t.Fatal(err)
	}
}

// Whatever a file says, reading it ends in a valid configuration that prints and reads as itself, or in an error.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(head + "nodeName: a\nsupervision: {module: {backoff: {initial: 1s}}}\n"))
	f.Add([]byte(head + "images: {gc: {highPercent: 1, lowPercent: 0}}\nisolation: {runtimeClasses: {a: shared}}\n"))
	f.Add([]byte(head + "supervision: {overrides: [{namespace: a, selector: {matchLabels: {b: c}}, module: {backoff: {max: 2s}}}]}"))
	f.Add([]byte("{}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := decode("f", data, rootHost)
		if err != nil {
			if err.Error() == "" {
				t.Error("an error without text")
			}
			return
		}
		c := rootHost.complete(file.config)
		if file.validate(c) != nil {
			return
		}
		_ = c.Supervision.For("a", map[string]string{"b": "c"})
		printed, err := yaml.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		again, err := decode("printed", printed, rootHost)
		if err != nil {
			t.Fatalf("%v\n%s", err, printed)
		}
		if d := differences(c, rootHost.complete(again.config)); len(d) > 0 {
			t.Errorf("differs when printed: %v", d)
		}
	})
}
