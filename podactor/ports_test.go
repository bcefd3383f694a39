package podactor

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestListeners(t *testing.T) {
	for name, c := range map[string]struct {
		ports string
		host  bool
		podIP string
		want  []string
	}{
		"none":                {podIP: "10.1.0.2"},
		"named and not":       {ports: `[{name: http, containerPort: 80}, {containerPort: 81, protocol: TCP}]`, podIP: "10.1.0.2", want: []string{"http tcp 10.1.0.2:80", "81 tcp 10.1.0.2:81"}},
		"UDP and SCTP":        {ports: `[{name: dns, containerPort: 53, protocol: UDP}, {name: dns-tcp, containerPort: 53}, {containerPort: 9, protocol: SCTP}]`, podIP: "10.1.0.2", want: []string{"dns udp 10.1.0.2:53", "dns-tcp tcp 10.1.0.2:53"}},
		"hostPort":            {ports: `[{name: http, containerPort: 80, hostPort: 8080}]`, podIP: "10.1.0.2", want: []string{"http tcp 10.1.0.2:80", "http tcp 192.0.2.1:8080"}},
		"hostIP":              {ports: `[{name: http, containerPort: 80, hostPort: 8080, hostIP: 127.0.0.1}, {containerPort: 81, hostPort: 81, hostIP: 0.0.0.0}, {containerPort: 82, hostPort: 82, hostIP: "::"}]`, podIP: "10.1.0.2", want: []string{"http tcp 10.1.0.2:80", "http tcp 127.0.0.1:8080", "81 tcp 10.1.0.2:81", "81 tcp 192.0.2.1:81", "82 tcp 10.1.0.2:82", "82 tcp 192.0.2.1:82"}},
		"twice":               {ports: `[{name: a, containerPort: 80}, {name: b, containerPort: 80}]`, podIP: "10.1.0.2", want: []string{"a tcp 10.1.0.2:80"}},
		"the host's network":  {ports: `[{name: http, containerPort: 80, hostPort: 80}]`, host: true, want: []string{"http tcp 192.0.2.1:80"}},
		"without any address": {ports: `[{name: http, containerPort: 80}]`},
	} {
		t.Run(name, func(t *testing.T) {
			pod := onePod("c")
			pod.Spec.HostNetwork = c.host
			around := surroundings{pod: pod, podIP: c.podIP, hostIP: "192.0.2.1"}
			list, err := around.listeners(parseContainer(t, "ports: "+c.ports))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, l := range list {
				got = append(got, l.Name+" "+l.Network+" "+l.Address.String())
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("listeners (-want +got):\n%s", d)
			}
		})
	}
}

func TestListenersRefused(t *testing.T) {
	for _, host := range []bool{false, true} { // it was silently left out once
		around := surroundings{pod: onePod("c"), podIP: "10.1.0.2"}
		around.pod.Spec.HostNetwork = host
		_, err := around.listeners(parseContainer(t, "ports: [{containerPort: 80, hostPort: 80}]"))
		if err == nil || err.Error() != "ports[0].hostPort: host IP unknown: the node has no address yet" {
			t.Errorf("without an address of the node: %v", err)
		}
	}
	for ports, want := range map[string]string{
		`[{containerPort: 80}, {containerPort: 0}]`:                     "ports[1].containerPort: want 1 to 65535 (got 0)",
		`[{containerPort: 65536}]`:                                      "ports[0].containerPort: want 1 to 65535 (got 65536)",
		`[{containerPort: 80, hostPort: -1}]`:                           "ports[0].hostPort: want 1 to 65535, or none (got -1)",
		`[{containerPort: 80, hostPort: 80, hostIP: node.example.com}]`: `ports[0].hostIP: want an IP address (got "node.example.com")`,
	} {
		around := surroundings{pod: onePod("c"), podIP: "10.1.0.2", hostIP: "192.0.2.1"}
		if _, err := around.listeners(parseContainer(t, "ports: "+ports)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", ports, err, want)
		}
	}
}
