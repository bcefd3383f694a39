package config

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/wazlet/wazlet/kube/certs"
	"github.com/wazlet/wazlet/kube/node"
	"github.com/wazlet/wazlet/kube/source/strictyaml"
	"github.com/wazlet/wazlet/moduleactor/egress"
	"github.com/wazlet/wazlet/moduleactor/resolver"
	"github.com/wazlet/wazlet/nodeactor/podcidr"
)

// Validate joins every problem of c as "field.path: problem (got X)".
func (c NodeConfiguration) Validate() error {
	var errs []error
	for _, p := range c.problems() {
		errs = append(errs, p)
	}
	return errors.Join(errs...)
}

func (c NodeConfiguration) problems() []strictyaml.Problem {
	all := c.validateHead()
	all = append(all, c.validateNode()...)
	all = append(all, c.DNS.validate(field.NewPath("dns"))...)
	all = append(all, c.Egress.validate(field.NewPath("egress"))...)
	all = append(all, c.GuestLimits.validate(field.NewPath("guestLimits"))...)
	all = append(all, c.Isolation.validate(field.NewPath("isolation"))...)
	all = append(all, c.Isolation.Shared.validate(field.NewPath("isolation", "shared"), c.RootDir)...)
	all = append(all, c.Supervision.Validate(field.NewPath("supervision"))...)
	all = append(all, c.Images.validate(field.NewPath("images"))...)
	all = append(all, c.HTTPHandlers.validate(field.NewPath("httpHandlers"))...)
	all = append(all, c.validateServers()...)
	all = append(all, c.Logging.validate(field.NewPath("logging"))...)
	ps := make([]strictyaml.Problem, 0, len(all))
	for _, e := range all {
		ps = append(ps, strictyaml.FromField(e))
	}
	return ps
}

func (c NodeConfiguration) validateHead() field.ErrorList {
	var all field.ErrorList
	if c.APIVersion != APIVersion {
		all = append(all, field.Invalid(field.NewPath("apiVersion"), c.APIVersion, "must be "+APIVersion))
	}
	if c.Kind != Kind {
		all = append(all, field.Invalid(field.NewPath("kind"), c.Kind, "must be "+Kind))
	}
	return all
}

func (c NodeConfiguration) validateNode() field.ErrorList {
	var all field.ErrorList
	name := field.NewPath("nodeName")
	if c.NodeName == "" {
		all = append(all, field.Required(name, "this machine has no usable host name"))
	}
	for _, m := range validation.IsDNS1123Subdomain(c.NodeName) {
		if c.NodeName != "" {
			all = append(all, field.Invalid(name, c.NodeName, m))
		}
	}
	all = append(all, absolute(field.NewPath("rootDir"), c.RootDir)...)
	all = append(all, absolute(field.NewPath("podLogsDir"), c.PodLogsDir)...)
	if c.ManifestDir != "" {
		all = append(all, absolute(field.NewPath("manifestDir"), c.ManifestDir)...)
	}
	if c.Kubeconfig != "" {
		all = append(all, absolute(field.NewPath("kubeconfig"), c.Kubeconfig)...)
	}
	if c.BootstrapKubeconfig != "" {
		all = append(all, absolute(field.NewPath("bootstrapKubeconfig"), c.BootstrapKubeconfig)...)
	}
	if c.BootstrapKubeconfig != "" && c.Kubeconfig == "" {
		all = append(all, field.Required(field.NewPath("kubeconfig"), "bootstrapKubeconfig asks for a kubeconfig; this is where it is written"))
	}
	if c.NodeIP != "" {
		all = append(all, node.ValidateNodeIPs(field.NewPath("nodeIP"), []string{c.NodeIP})...)
	}
	all = append(all, node.ValidateLabels(field.NewPath("nodeLabels"), c.NodeLabels)...)
	all = append(all, node.ValidateTaints(field.NewPath("registerWithTaints"), c.RegisterWithTaints)...)
	all = append(all, node.ValidateReserved(field.NewPath("reserved"), c.Reserved)...)
	all = append(all, between(field.NewPath("maxPods"), c.MaxPods, 1, maxMaxPods)...)
	all = append(all, cidr(field.NewPath("podCIDR"), c.PodCIDR)...)
	return all
}

// maxMaxPods keeps a typing error from passing; nothing breaks at that number.
const maxMaxPods = 100_000

// The least that guests need: a page of memory, calls a few hundred deep, the tables of a small program, their standard
// streams, the root and something to do with it, a line now and then. At most, what wasm or wazero have, or what a typing
// error would exceed.
const (
	minMemory        = 64 << 10
	maxMemory        = 4 << 30
	minStack         = 64 << 10
	maxStack         = 50_000_000
	minTable         = 1024
	maxTable         = 1 << 26
	minOpenFiles     = 16
	maxOpenFiles     = 1 << 20
	minOutput        = 1024
	maxOutput        = 1 << 30
	minEntries       = 16
	maxEntries       = 1 << 16
	minSubscriptions = 64
	maxSubscriptions = 1 << 16
)

func (g GuestLimits) validate(path *field.Path) field.ErrorList {
	all := between(path.Child("memoryBytes"), g.MemoryBytes, minMemory, maxMemory)
	all = append(all, between(path.Child("stackBytes"), g.StackBytes, minStack, maxStack)...)
	all = append(all, between(path.Child("tableElements"), g.TableElements, minTable, maxTable)...)
	all = append(all, between(path.Child("openFiles"), g.OpenFiles, minOpenFiles, maxOpenFiles)...)
	all = append(all, betweenOrNone(path.Child("outputBytesPerSecond"), g.OutputBytesPerSecond, minOutput, maxOutput)...)
	all = append(all, between(path.Child("directoryEntries"), g.DirectoryEntries, minEntries, maxEntries)...)
	return append(all, between(path.Child("pollSubscriptions"), g.PollSubscriptions, minSubscriptions, maxSubscriptions)...)
}

func (d DNS) validate(path *field.Path) field.ErrorList {
	var all field.ErrorList
	if n := len(d.ClusterDNS); n > resolver.MaxNameservers {
		all = append(all, field.TooMany(path.Child("clusterDNS"), n, resolver.MaxNameservers))
	}
	for n, server := range d.ClusterDNS {
		if _, err := netip.ParseAddr(server); err != nil {
			all = append(all, field.Invalid(path.Child("clusterDNS").Index(n), server, "must be an IP address"))
		}
	}
	for _, m := range validation.IsDNS1123Subdomain(d.ClusterDomain) {
		all = append(all, field.Invalid(path.Child("clusterDomain"), d.ClusterDomain, m))
	}
	return append(all, absolute(path.Child("resolvConf"), d.ResolvConf)...)
}

func (e Egress) validate(path *field.Path) field.ErrorList {
	var all field.ErrorList
	for _, list := range []struct {
		name  string
		rules []string
	}{{"allow", e.Allow}, {"deny", e.Deny}} {
		for n, rule := range list.rules {
			if _, err := egress.Parse(rule); err != nil {
				all = append(all, field.Invalid(path.Child(list.name).Index(n), rule, err.Error()))
			}
		}
	}
	return all
}

func (i Isolation) validate(path *field.Path) field.ErrorList {
	modes := []IsolationMode{IsolationProcess, IsolationShared}
	all := oneOf(path.Child("default"), i.Default, modes...)
	all = append(all, oneOf(path.Child("sharing"), i.Sharing, SharingNode, SharingNamespace)...)
	for _, class := range slices.Sorted(maps.Keys(i.RuntimeClasses)) {
		at := path.Child("runtimeClasses").Key(class)
		for _, m := range validation.IsDNS1123Subdomain(class) {
			all = append(all, field.Invalid(at, class, "a runtime class is "+m))
		}
		all = append(all, oneOf(at, i.RuntimeClasses[class], modes...)...)
	}
	return all
}

// The limits of compileTimeout. Modules of 49 MB take about 20 s.
const (
	minCompile = time.Second
	maxCompile = 30 * time.Minute
)

func (i Images) validate(path *field.Path) field.ErrorList {
	all := between(path.Child("maxParallelPulls"), i.MaxParallelPulls, 1, 100)
	all = append(all, between(path.Child("maxParallelCompiles"), i.MaxParallelCompiles, 1, 100)...)
	if d := i.CompileTimeout.Duration; d < minCompile || d > maxCompile {
		all = append(all, field.Invalid(path.Child("compileTimeout"), d.String(), fmt.Sprintf("must be between %s and %s", minCompile, maxCompile)))
	}
	for n, r := range i.InsecureRegistries {
		all = append(all, hostPort(path.Child("insecureRegistries").Index(n), r)...)
	}
	for _, registry := range slices.Sorted(maps.Keys(i.Mirrors)) {
		all = append(all, hostPort(path.Child("mirrors"), registry)...)
		for n, mirror := range i.Mirrors[registry] {
			host, _, _ := strings.Cut(mirror, "/")
			all = append(all, hostPort(path.Child("mirrors").Key(registry).Index(n), host)...)
		}
	}
	for n, file := range i.CAFiles {
		all = append(all, absolute(path.Child("caFiles").Index(n), file)...)
	}
	if i.DockerConfig != "" {
		all = append(all, absolute(path.Child("dockerConfig"), i.DockerConfig)...)
	}
	gc := path.Child("gc")
	all = append(all, between(gc.Child("highPercent"), i.GC.HighPercent, 1, 100)...)
	all = append(all, between(gc.Child("lowPercent"), i.GC.LowPercent, 0, 100)...)
	if i.GC.LowPercent >= i.GC.HighPercent {
		all = append(all, field.Invalid(gc.Child("lowPercent"), i.GC.LowPercent,
			"must be less than "+gc.Child("highPercent").String()+", which is "+strconv.Itoa(i.GC.HighPercent)))
	}
	return all
}

func (c NodeConfiguration) validateServers() field.ErrorList {
	kubelet, debug := field.NewPath("kubeletServer"), field.NewPath("debug")
	all := append(c.KubeletServer.validate(kubelet), c.Debug.validate(debug)...)
	serving := kubelet.Child("servingCertificate")
	all = append(all, oneOf(serving.Child("mode"), certs.ServingMode(c.KubeletServer.ServingCertificate.Mode), certs.ServingModes()...)...)
	for name, file := range map[string]string{
		"certFile": c.KubeletServer.ServingCertificate.CertFile, "keyFile": c.KubeletServer.ServingCertificate.KeyFile,
	} {
		switch files := c.KubeletServer.ServingCertificate.Mode == string(certs.ServingFiles); {
		case files:
			all = append(all, absolute(serving.Child(name), file)...)
		case file != "":
			all = append(all, field.Forbidden(serving.Child(name), "is for mode files only"))
		}
	}
	if c.KubeletServer.ClientCAFile != "" {
		all = append(all, absolute(kubelet.Child("clientCAFile"), c.KubeletServer.ClientCAFile)...)
	}
	logs := c.KubeletServer.SystemLogs
	all = append(all, absolute(kubelet.Child("systemLogs", "dir"), logs.Dir)...)
	if logs.Query && !logs.Enabled {
		all = append(all, field.Invalid(kubelet.Child("systemLogs", "query"), logs.Query, "needs systemLogs.enabled"))
	}
	if c.Debug.Port != 0 && c.Debug == c.KubeletServer.Listener {
		all = append(all, field.Invalid(debug.Child("port"), c.Debug.Port, "must not be the port of kubeletServer"))
	}
	return all
}

func (l Listener) validate(path *field.Path) field.ErrorList {
	var all field.ErrorList
	if _, err := netip.ParseAddr(l.Address); err != nil {
		all = append(all, field.Invalid(path.Child("address"), l.Address, "must be an IP address such as 127.0.0.1 or ::1"))
	}
	return append(all, between(path.Child("port"), l.Port, 0, 65535)...)
}

func (l Logging) validate(path *field.Path) field.ErrorList {
	all := oneOf(path.Child("level"), l.Level, LevelDebug, LevelInfo, LevelWarn, LevelError)
	return append(all, oneOf(path.Child("format"), l.Format, FormatJSON, FormatText)...)
}

func oneOf[T ~string](path *field.Path, got T, allowed ...T) field.ErrorList {
	if slices.Contains(allowed, got) {
		return nil
	}
	return field.ErrorList{field.NotSupported(path, got, allowed)}
}

func between[T int | int64](path *field.Path, got, least, most T) field.ErrorList {
	if got >= least && got <= most {
		return nil
	}
	return field.ErrorList{field.Invalid(path, got, fmt.Sprintf("must be between %d and %d", least, most))}
}

func betweenOrNone(path *field.Path, got, least, most int64) field.ErrorList {
	if got == 0 || got >= least && got <= most {
		return nil
	}
	return field.ErrorList{field.Invalid(path, got, fmt.Sprintf("must be between %d and %d, or 0 for no limit", least, most))}
}

func absolute(path *field.Path, dir string) field.ErrorList {
	if filepath.IsAbs(dir) {
		return nil
	}
	return field.ErrorList{field.Invalid(path, dir, "must be an absolute path")}
}

func cidr(path *field.Path, s string) field.ErrorList {
	if s == "" {
		return nil
	}
	_, err := podcidr.Parse(s)
	if bad := (*podcidr.Error)(nil); errors.As(err, &bad) {
		return field.ErrorList{field.Invalid(path, s, bad.Problem)}
	}
	return nil
}

// hostPort checks a registry's HOST or HOST:PORT.
func hostPort(path *field.Path, s string) field.ErrorList {
	bad := field.ErrorList{field.Invalid(path, s, "must be HOST or HOST:PORT, such as registry.example:5000")}
	host, port, hasPort := s, "", false
	if i := strings.LastIndexByte(s, ':'); i > strings.LastIndexByte(s, ']') && strings.Count(s[:i], ":") == strings.Count(strings.Trim(s[:i], "[]"), ":") {
		host, port, hasPort = s[:i], s[i+1:], true
	}
	if n, err := strconv.ParseUint(port, 10, 16); hasPort && (err != nil || n == 0) {
		return bad
	}
	if rest, ok := strings.CutPrefix(host, "["); ok {
		if a, err := netip.ParseAddr(strings.TrimSuffix(rest, "]")); err != nil || !a.Is6() || !strings.HasSuffix(host, "]") {
			return bad
		}
		return nil
	}
	if _, err := netip.ParseAddr(host); err == nil && !strings.Contains(host, ":") {
		return nil
	}
	if len(validation.IsDNS1123Subdomain(strings.ToLower(host))) > 0 {
		return bad
	}
	return nil
}
