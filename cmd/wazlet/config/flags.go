package config

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strconv"

	"github.com/spf13/pflag"
)

// Flags are the command line's part of the configuration. Only flags that were given override the file.
type Flags struct {
	set    *pflag.FlagSet
	path   string
	values NodeConfiguration

	debugAddress, kubeletAddress hostPortValue
	logLevel, logFormat          string
}

// BindFlags adds the configuration's flags to fs.
func BindFlags(fs *pflag.FlagSet) *Flags {
	f := &Flags{set: fs}
	v := &f.values
	fs.StringVar(&f.path, "config", "", "configuration `FILE`; without it, defaults")
	fs.StringVar(&v.NodeName, "node-name", "", "`NAME` of this node (default: the host name)")
	fs.StringVar(&v.RootDir, "root-dir", "", "`DIR` of images, compiled modules and Pods")
	fs.StringVar(&v.Kubeconfig, "kubeconfig", "", "`FILE` with the way to the cluster; without it, a standalone node")
	fs.StringVar(&v.BootstrapKubeconfig, "bootstrap-kubeconfig", "", "`FILE` with which to ask for a kubeconfig")
	fs.StringVar(&v.ManifestDir, "manifest-dir", "", "`DIR` to watch for static Pods")
	fs.StringVar(&v.PodCIDR, "pod-cidr", "", "`NETWORK` of the Pods' addresses")
	fs.IntVar(&v.MaxPods, "max-pods", 0, "at most `N` Pods on this node")
	fs.Var(&f.debugAddress, "debug-address", "where the debug endpoint listens")
	fs.Var(&f.kubeletAddress, "kubelet-address", "where the kubelet's API listens")
	fs.StringVar(&f.logLevel, "log-level", "", "`LEVEL`: debug, info, warn or error")
	fs.StringVar(&f.logFormat, "log-format", "", "`FORMAT`: json or text")
	return f
}

// Values are all flags of the command with their values, also those that were not given; for /flagz.
func (f *Flags) Values() map[string]string {
	out := map[string]string{}
	f.set.VisitAll(func(g *pflag.Flag) { out[g.Name] = g.Value.String() })
	return out
}

// Path is the file that was named by --config, or empty.
func (f *Flags) Path() string { return f.path }

// Resolve merges defaults, file and flags and validates the result.
func (f *Flags) Resolve() (NodeConfiguration, error) { return f.resolve(ThisHost()) }

func (f *Flags) resolve(h Host) (NodeConfiguration, error) {
	if f.path == "" {
		c := h.complete(f.override(h.base()))
		if err := c.Validate(); err != nil {
			return NodeConfiguration{}, err
		}
		return c, nil
	}
	file, err := read(f.path, h)
	if err != nil {
		return NodeConfiguration{}, err
	}
	c := h.complete(f.override(file.config))
	if err := file.validate(c); err != nil {
		return NodeConfiguration{}, err
	}
	return c, nil
}

// override returns c with what the given flags say.
func (f *Flags) override(c NodeConfiguration) NodeConfiguration {
	for name, set := range map[string]func(){
		"node-name":            func() { c.NodeName = f.values.NodeName },
		"root-dir":             func() { c.RootDir = fromHere(f.values.RootDir) },
		"kubeconfig":           func() { c.Kubeconfig = fromHere(f.values.Kubeconfig) },
		"bootstrap-kubeconfig": func() { c.BootstrapKubeconfig = fromHere(f.values.BootstrapKubeconfig) },
		"manifest-dir":         func() { c.ManifestDir = fromHere(f.values.ManifestDir) },
		"pod-cidr":             func() { c.PodCIDR = f.values.PodCIDR },
		"max-pods":             func() { c.MaxPods = f.values.MaxPods },
		"debug-address":        func() { c.Debug = f.debugAddress.Listener },
		"kubelet-address":      func() { c.KubeletServer.Listener = f.kubeletAddress.Listener },
		"log-level":            func() { c.Logging.Level = LogLevel(f.logLevel) },
		"log-format":           func() { c.Logging.Format = LogFormat(f.logFormat) },
	} {
		if f.set.Changed(name) {
			set()
		}
	}
	return c
}

// fromHere makes a path of the command line absolute. Validate reports what cannot be.
func fromHere(path string) string {
	if path == "" {
		return ""
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return path
	}
	return abs
}

// hostPortValue is a flag of the form HOST:PORT. An empty host stands for all addresses.
type hostPortValue struct{ Listener }

func (v *hostPortValue) String() string {
	if v.Address == "" && v.Port == 0 {
		return ""
	}
	return net.JoinHostPort(v.Address, strconv.Itoa(v.Port))
}

func (v *hostPortValue) Type() string { return "HOST:PORT" }

func (v *hostPortValue) Set(s string) error {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return errors.New("must be HOST:PORT, such as 127.0.0.1:10248")
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return fmt.Errorf("port must be between 0 and 65535 (got %s)", port)
	}
	switch host {
	case "":
		host = "0.0.0.0"
	case "localhost":
		host = "127.0.0.1"
	}
	v.Listener = Listener{Address: host, Port: int(n)}
	return nil
}
