package main

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wazlet/wazlet/moduleactor/bundle"
	"github.com/wazlet/wazlet/moduleactor/egress"
	"github.com/wazlet/wazlet/moduleactor/engine/enginetest"
)

func guestFiles() []bundle.File {
	return []bundle.File{
		{Guest: "/etc/hosts", Text: "127.0.0.1\tlocalhost\n10.0.0.8\tweb-0\n"},
		{Guest: "/etc/hostname", Text: "web-0\n"},
		{Guest: "/etc/resolv.conf", Text: "nameserver 10.96.0.10\n"},
	}
}

// Guests in C and Go find the files of the spec, and so do commands; on the disk there is none of them.
func TestGuestFiles(t *testing.T) {
	const want = "hostname regular=true\nweb-0\nhosts regular=true\n127.0.0.1\tlocalhost\n10.0.0.8\tweb-0\npasswd regular=true\nroot\n" +
		"resolv.conf regular=true\nnameserver 10.96.0.10\nhosts cannot be written\n"
	for language, code := range map[string][]byte{"C": enginetest.C(t, "etc.c"), "Go": enginetest.Go(t, "etc")} {
		t.Run(language, func(t *testing.T) {
			eitherWay(t, func(t *testing.T, shim string) {
				c := newContainer(t, code, map[string][]byte{"etc/hosts": []byte("the image's"), "etc/passwd": []byte("root\n")}, func(s *bundle.Spec) {
					s.Shim, s.Files, s.TerminationMessagePath = shim, guestFiles(), "/dev/termination-log"
				})
				var log string
				eventually(t, "last line", func() bool {
					b, err := os.ReadFile(c.spec.Log.Path)
					log = string(b)
					return err == nil && strings.Contains(log, "cannot be written\n")
				})
				var printed strings.Builder
				for line := range strings.Lines(log) {
					_, text, _ := strings.Cut(line, " stdout F ")
					printed.WriteString(text)
				}
				if d := cmp.Diff(want, printed.String()); d != "" {
					t.Errorf("the guest (-want +got):\n%s", d)
				}
				if code, stdout, stderr := c.exec("", "x"); code != 0 || stdout != want {
					t.Errorf("a command: exit code %d, %s; (-want +got):\n%s", code, stderr, cmp.Diff(want, stdout))
				}
				entries, err := os.ReadDir(filepath.Join(c.spec.Rootfs, "etc"))
				if err != nil || len(entries) != 2 {
					t.Errorf("on the disk: %v, %v", entries, err)
				}
			})
		})
	}
}

// What /etc/hosts says holds for names that guests resolve through the host.
func TestGuestResolvesHosts(t *testing.T) {
	isolations(t, func(t *testing.T, d *daemon, shim string) {
		spec := d.spec("c", 0, enginetest.C(t, "sockets.c"), func(s *bundle.Spec) {
			s.Shim, s.Files, s.Args = shim, guestFiles(), []string{"sockets", "resolve", "Web-0", "80"}
			s.Network = &bundle.Network{Egress: egress.Policy{Own: []netip.Addr{netip.MustParseAddr("127.88.0.9")}}}
		})
		d.ended(d.start(spec, bundle.Limits{}))
		d.logs(spec, " stdout F 10.0.0.8 80\n")
	})
}
