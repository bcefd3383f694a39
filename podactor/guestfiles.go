package podactor

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/wazlet/wazlet/moduleactor"
	"github.com/wazlet/wazlet/moduleactor/bundle"
)

// The limits of Linux for a host name; the second is for one that is a full name.
const maxHostname, maxFullHostname = 63, 64

// podNames are what a Pod is called inside.
type podNames struct {
	// host and domain are its name for /etc/hosts.
	host, domain string
	// node is what uname(2) would say: HOSTNAME and /etc/hostname.
	node string
}

// namesOf names a Pod as the kubelet does.
func namesOf(cfg Config, pod *corev1.Pod) (podNames, error) {
	n := podNames{host: pod.Name}
	switch s := &pod.Spec; {
	case s.HostNetwork:
		return podNames{host: cfg.Hostname, node: cfg.Hostname}, nil
	case s.HostnameOverride != nil:
		n.host = *s.HostnameOverride
		if problems := validation.IsDNS1123Subdomain(n.host); len(problems) > 0 {
			return n, fmt.Errorf("pod HostnameOverride %q is not a valid DNS subdomain: %s", n.host, strings.Join(problems, ";"))
		}
	default:
		if s.Hostname != "" {
			n.host = s.Hostname
			if problems := validation.IsDNS1123Label(n.host); len(problems) > 0 {
				return n, fmt.Errorf("pod Hostname %q is not a valid DNS label: %s", n.host, strings.Join(problems, ";"))
			}
		}
		if s.Subdomain != "" {
			if problems := validation.IsDNS1123Label(s.Subdomain); len(problems) > 0 {
				return n, fmt.Errorf("pod Subdomain %q is not a valid DNS label: %s", s.Subdomain, strings.Join(problems, ";"))
			}
			n.domain = s.Subdomain + "." + pod.Namespace + ".svc." + cfg.DNS.Domain
		}
	}
	if len(n.host) > maxHostname {
		n.host = strings.TrimRight(n.host[:maxHostname], "-.")
	}
	n.node = n.host
	if full := pod.Spec.SetHostnameAsFQDN; n.domain != "" && full != nil && *full {
		if n.node = n.full(); len(n.node) > maxFullHostname {
			return n, fmt.Errorf("failed to construct FQDN from pod hostname and cluster domain, FQDN %s is too long "+
				"(%d characters is the max, %d characters requested)", n.node, maxFullHostname, len(n.node))
		}
	}
	return n, nil
}

func (n podNames) full() string { return n.host + "." + n.domain }

// addGuestFiles gives a container the files that a kubelet and a container runtime make. What the Pod itself mounts in their
// place stays.
func addGuestFiles(cfg Config, pod *corev1.Pod, podIP string, s *moduleactor.Spec) error {
	names, err := namesOf(cfg, pod)
	if err != nil {
		return err
	}
	s.Hostname = names.node
	if s.Network == nil {
		return nil
	}
	hosts, err := hostsOf(cfg, pod, podIP, names)
	if err != nil {
		return err
	}
	for _, f := range []bundle.File{
		{Guest: bundle.HostsFile, Text: hosts},
		{Guest: "/etc/hostname", Text: names.node + "\n"},
		{Guest: "/etc/resolv.conf", Text: s.Network.DNS.String()},
	} {
		taken := func(path string) bool { return path == f.Guest || strings.HasPrefix(path, f.Guest+"/") }
		if !taken(s.TerminationMessagePath) && !slices.ContainsFunc(s.Mounts, func(m bundle.Mount) bool { return taken(m.Guest) }) {
			s.Files = append(s.Files, f)
		}
	}
	return nil
}

// hostsOf is a Pod's /etc/hosts, to the letter as the kubelet writes it.
func hostsOf(cfg Config, pod *corev1.Pod, podIP string, names podNames) (string, error) {
	var b strings.Builder
	if pod.Spec.HostNetwork {
		text, err := readHosts(cfg.HostsFile)
		if err != nil {
			return "", err
		}
		b.WriteString("# Kubernetes-managed hosts file (host network).\n" + text)
	} else {
		b.WriteString("# Kubernetes-managed hosts file.\n" +
			"127.0.0.1\tlocalhost\n" +
			"::1\tlocalhost ip6-localhost ip6-loopback\n" +
			"fe00::0\tip6-localnet\n" +
			"fe00::0\tip6-mcastprefix\n" +
			"fe00::1\tip6-allnodes\n" +
			"fe00::2\tip6-allrouters\n" +
			podIP + "\t")
		if names.domain != "" {
			b.WriteString(names.full() + "\t")
		}
		b.WriteString(names.host + "\n")
	}
	if len(pod.Spec.HostAliases) > 0 {
		b.WriteString("\n# Entries added by HostAliases.\n")
	}
	for _, a := range pod.Spec.HostAliases {
		b.WriteString(a.IP + "\t" + strings.Join(a.Hostnames, "\t") + "\n")
	}
	return b.String(), nil
}

// maxHosts bounds what of the host's file becomes a part of spec.json.
const maxHosts = 1 << 20

// readHosts reads the host's file. There need not be one.
func readHosts(path string) (string, error) {
	f, err := os.Open(path)
	if path == "" || errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read the host's names: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxHosts+1))
	if err != nil {
		return "", fmt.Errorf("read the host's names: %w", err)
	}
	text := strings.ToValidUTF8(string(data), "")
	if len(data) > maxHosts {
		text = text[:strings.LastIndexByte(text, '\n')+1] + "# The host's file has more.\n"
	}
	return text, nil
}
