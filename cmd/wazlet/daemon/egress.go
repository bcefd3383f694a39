package daemon

import (
	"net/netip"
	"time"

	"github.com/wazlet/wazlet/actors"
	"github.com/wazlet/wazlet/cmd/wazlet/config"
	"github.com/wazlet/wazlet/moduleactor/bundle"
	"github.com/wazlet/wazlet/moduleactor/egress"
	"github.com/wazlet/wazlet/podactor"
)

// dnsOf and egressOf make values of what the configuration has as text, which was validated.
func dnsOf(c config.DNS) podactor.DNS {
	d := podactor.DNS{Domain: c.ClusterDomain, ResolvConf: c.ResolvConf}
	for _, s := range c.ClusterDNS {
		if a, err := netip.ParseAddr(s); err == nil {
			d.Cluster = append(d.Cluster, a)
		}
	}
	return d
}

func egressOf(c config.Egress) podactor.Egress {
	return podactor.Egress{Allow: rulesOf(c.Allow), Deny: rulesOf(c.Deny)}
}

func rulesOf(list []string) []egress.Rule {
	var out []egress.Rule
	for _, s := range list {
		if r, err := egress.Parse(s); err == nil {
			out = append(out, r)
		}
	}
	return out
}

// refused makes an Event of what was refused to a guest.
func (d *daemon) refused(s bundle.Spec, text string) {
	d.system.Observe(actors.Notice{
		Time: time.Now(), Pod: actors.PodRef{UID: s.PodUID, Namespace: s.Namespace, Name: s.Pod}, Warning: true,
		Reason: actors.ReasonEgressRefused, Message: "Container " + s.Container + ": " + text,
	})
}
