package podactor

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wazlet/wazlet/moduleactor"
	"github.com/wazlet/wazlet/moduleactor/bundle"
)

const localhosts = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\n" +
	"fe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n"

// The texts are those that a kubelet 1.36 and containerd make.
func TestGuestFiles(t *testing.T) {
	yes, two, none, override := true, "2", "", "db.example"
	aliases := []corev1.HostAlias{{IP: "10.0.0.9", Hostnames: []string{"db", "db.example"}}, {IP: "::9", Hostnames: []string{"db6"}}}
	const (
		managed = "# Kubernetes-managed hosts file.\n" + localhosts
		cluster = "search ns.svc.cluster.local svc.cluster.local cluster.local corp.example\nnameserver 10.96.0.10\noptions ndots:5\n"
		host    = "search corp.example\nnameserver 192.0.2.53\noptions edns0 timeout:1\n"
	)
	for name, tc := range map[string]struct {
		spec                        corev1.PodSpec
		hosts, hostname, resolvConf string
	}{
		"a Pod": {corev1.PodSpec{}, managed + "10.244.0.7\tweb-0\n", "web-0", cluster},
		"with a name and a domain": {
			corev1.PodSpec{Hostname: "first", Subdomain: "web", DNSPolicy: corev1.DNSDefault},
			managed + "10.244.0.7\tfirst.web.ns.svc.cluster.local\tfirst\n", "first", host,
		},
		"with its full name": {
			corev1.PodSpec{Subdomain: "web", SetHostnameAsFQDN: &yes},
			managed + "10.244.0.7\tweb-0.web.ns.svc.cluster.local\tweb-0\n", "web-0.web.ns.svc.cluster.local", cluster,
		},
		"without a domain there is no full name": {
			corev1.PodSpec{SetHostnameAsFQDN: &yes}, managed + "10.244.0.7\tweb-0\n", "web-0", cluster,
		},
		"overridden": {
			corev1.PodSpec{Hostname: "first", Subdomain: "web", HostnameOverride: &override}, managed + "10.244.0.7\tdb.example\n", "db.example", cluster,
		},
		"aliases": {
			corev1.PodSpec{HostAliases: aliases},
			managed + "10.244.0.7\tweb-0\n\n# Entries added by HostAliases.\n10.0.0.9\tdb\tdb.example\n::9\tdb6\n", "web-0", cluster,
		},
		"on the host's network": {
			corev1.PodSpec{HostNetwork: true, Hostname: "first", HostAliases: aliases[:1]},
			"# Kubernetes-managed hosts file (host network).\n127.0.0.1 localhost\n192.0.2.9 edge\n\n# Entries added by HostAliases.\n10.0.0.9\tdb\tdb.example\n",
			"edge.example", host,
		},
		"on the host's network, with the cluster's names": {
			corev1.PodSpec{HostNetwork: true, DNSPolicy: corev1.DNSClusterFirstWithHostNet},
			"# Kubernetes-managed hosts file (host network).\n127.0.0.1 localhost\n192.0.2.9 edge\n", "edge.example", cluster,
		},
		"its own DNS": {
			corev1.PodSpec{DNSPolicy: corev1.DNSNone, DNSConfig: &corev1.PodDNSConfig{
				Nameservers: []string{"192.0.2.1", "192.0.2.1"}, Searches: []string{"a.example.", "b.example"},
				Options: []corev1.PodDNSConfigOption{{Name: "ndots", Value: &two}, {Name: "edns0"}, {Name: "rotate", Value: &none}},
			}},
			managed + "10.244.0.7\tweb-0\n", "web-0", "search a.example b.example\nnameserver 192.0.2.1\noptions ndots:2 edns0 rotate\n",
		},
		"more DNS than the cluster's": {
			corev1.PodSpec{DNSConfig: &corev1.PodDNSConfig{
				Nameservers: []string{"192.0.2.1", "10.96.0.10", "192.0.2.2", "192.0.2.3"}, Searches: []string{"cluster.local", "a.example"},
				Options: []corev1.PodDNSConfigOption{{Name: "ndots", Value: &two}, {Name: "timeout", Value: &two}},
			}},
			managed + "10.244.0.7\tweb-0\n", "web-0",
			"search ns.svc.cluster.local svc.cluster.local cluster.local corp.example a.example\n" +
				"nameserver 10.96.0.10\nnameserver 192.0.2.1\nnameserver 192.0.2.2\noptions ndots:2 timeout:2\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := netConfig(t, "search corp.example.\nnameserver 192.0.2.53\noptions edns0 timeout:1\n")
			cfg.Hostname, cfg.HostsFile = "edge.example", filepath.Join(t.TempDir(), "hosts")
			if err := os.WriteFile(cfg.HostsFile, []byte("127.0.0.1 localhost\n192.0.2.9 edge\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "web-0", UID: "uid"}, Spec: tc.spec}
			pod.Spec.Containers = []corev1.Container{{Name: "c", Image: "i:1"}}
			s, err := resolveSpec(t.Context(), surroundings{cfg: cfg, pod: pod, podIP: "10.244.0.7", hostIP: "192.0.2.9"}, "c", false)
			if err != nil {
				t.Fatal(err)
			}
			want := []bundle.File{
				{Guest: "/etc/hosts", Text: tc.hosts}, {Guest: "/etc/hostname", Text: tc.hostname + "\n"}, {Guest: "/etc/resolv.conf", Text: tc.resolvConf},
			}
			if d := cmp.Diff(want, s.Files); d != "" || s.Hostname != tc.hostname {
				t.Errorf("HOSTNAME=%s, files (-want +got):\n%s", s.Hostname, d)
			}
		})
	}
}

func TestGuestFilesYieldToVolumes(t *testing.T) {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web-0"}}
	for guest, want := range map[string]string{
		"/data": "/etc/hosts /etc/hostname /etc/resolv.conf", "/etc": "/etc/hosts /etc/hostname /etc/resolv.conf",
		"/etc/hosts": "/etc/hostname /etc/resolv.conf", "/etc/resolv.conf/d": "/etc/hosts /etc/hostname",
		"/etc/hosts.d": "/etc/hosts /etc/hostname /etc/resolv.conf",
	} {
		for what, s := range map[string]*moduleactor.Spec{
			"a volume":                {Network: &bundle.Network{}, Mounts: []bundle.Mount{{Guest: "/x"}, {Guest: guest}}},
			"the termination message": {Network: &bundle.Network{}, TerminationMessagePath: guest},
		} {
			err := addGuestFiles(Config{}, pod, "10.0.0.1", s)
			var got []string
			for _, f := range s.Files {
				got = append(got, f.Guest)
			}
			if text := strings.Join(got, " "); err != nil || text != want {
				t.Errorf("%s at %s: %s, %v, want %s", what, guest, text, err, want)
			}
		}
	}
}

func TestNamesOfRefuses(t *testing.T) {
	yes, bad := true, "A_b"
	long := strings.Repeat("a", 62) + ".b"
	for want, spec := range map[string]corev1.PodSpec{
		`pod Hostname "A_b" is not a valid DNS label: `:                   {Hostname: bad},
		`pod Subdomain "A_b" is not a valid DNS label: `:                  {Subdomain: bad},
		`pod HostnameOverride "A_b" is not a valid DNS subdomain: `:       {HostnameOverride: &bad},
		"is too long (64 characters is the max, 66 characters requested)": {Subdomain: strings.Repeat("s", 53), SetHostnameAsFQDN: &yes},
	} {
		_, err := namesOf(Config{DNS: DNS{Domain: "l"}}, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "web"}, Spec: spec})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	n, err := namesOf(Config{}, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: long}})
	if want := strings.Repeat("a", 62); err != nil || n.host != want || n.node != want { // the dot at the end is cut, too
		t.Errorf("a long name has become %+v, %v", n, err)
	}
}

func TestReadHosts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hosts")
	if text, err := readHosts(path); text != "" || err != nil {
		t.Errorf("without a file: %q, %v", text, err)
	}
	line := "192.0.2.1 " + strings.Repeat("x", 89) + "\n"
	if err := os.WriteFile(path, []byte(strings.Repeat(line, maxHosts/100+1)), 0o600); err != nil {
		t.Fatal(err)
	}
	text, err := readHosts(path)
	if want := strings.Repeat(line, maxHosts/100) + "# The host's file has more.\n"; text != want || err != nil {
		t.Errorf("%d bytes, %v, want %d", len(text), err, len(want))
	}
	if _, err := readHosts(t.TempDir()); err == nil {
		t.Error("a directory is no file of names")
	}
}
