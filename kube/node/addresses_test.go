package node

import (
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func TestHostAddresses(t *testing.T) {
	v4, v6 := net.ParseIP("192.0.2.7"), net.ParseIP("2001:db8::7")
	here := func(ips ...string) func(net.IP) error {
		return func(ip net.IP) error {
			for _, s := range ips {
				if ip.Equal(net.ParseIP(s)) {
					return nil
				}
			}
			return errors.New("not here")
		}
	}
	names := func(ips ...net.IP) func(string) ([]net.IP, error) {
		return func(string) ([]net.IP, error) { return ips, nil }
	}
	route := func() (net.IP, error) { return net.ParseIP("192.0.2.99"), nil }
	for name, tt := range map[string]struct {
		config AddressConfig
		want   []string
		err    string
	}{
		"configured, both families": {
			AddressConfig{NodeIPs: []string{"192.0.2.7", "2001:db8::7"}, OnHost: here("192.0.2.7", "2001:db8::7")},
			[]string{"192.0.2.7", "2001:db8::7"},
			"",
		},
		"configured, not here":    {AddressConfig{NodeIPs: []string{"192.0.2.7"}, OnHost: here()}, nil, "node IP 192.0.2.7: not here"},
		"name is an address":      {AddressConfig{NodeName: "192.0.2.7", OnHost: here("192.0.2.7")}, []string{"192.0.2.7"}, ""},
		"name resolves":           {AddressConfig{Lookup: names(v6, v4), OnHost: here("192.0.2.7", "2001:db8::7")}, []string{"192.0.2.7"}, ""},
		"name resolves to IPv6":   {AddressConfig{Lookup: names(v6), OnHost: here("2001:db8::7")}, []string{"2001:db8::7"}, ""},
		"name resolves elsewhere": {AddressConfig{Lookup: names(v4), DefaultRoute: route, OnHost: here("192.0.2.99")}, []string{"192.0.2.99"}, ""},
		"name is loopback":        {AddressConfig{Lookup: names(net.ParseIP("127.0.1.1")), DefaultRoute: route, OnHost: func(net.IP) error { return nil }}, []string{"192.0.2.99"}, ""},
		"nothing": {
			AddressConfig{Lookup: names(), DefaultRoute: func() (net.IP, error) { return nil, errors.New("no default routes") }},
			nil, "find the node's IP address (nodeIPs can name it): no default routes",
		},
	} {
		t.Run(name, func(t *testing.T) {
			find, err := HostAddresses(tt.config)
			if err != nil {
				t.Fatal(err)
			}
			got, err := find()
			if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Fatalf("error %v, want %q", err, tt.err)
			}
			var ips []string
			for _, a := range got {
				if a.Type != corev1.NodeInternalIP {
					t.Errorf("type %s", a.Type)
				}
				ips = append(ips, a.Address)
			}
			if diff := cmp.Diff(tt.want, ips); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestDetectedAddressStaysWhileItIsThere(t *testing.T) {
	lookups := 0
	gone := false
	find, err := HostAddresses(AddressConfig{
		Lookup: func(string) ([]net.IP, error) {
			lookups++
			return []net.IP{net.IPv4(192, 0, 2, byte(lookups))}, nil
		},
		OnHost: func(ip net.IP) error {
			if gone && ip.To4()[3] == 1 {
				return errors.New("gone")
			}
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for i := range 4 {
		gone = i >= 2
		a, err := find()
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, a[0].Address)
	}
	if diff := cmp.Diff([]string{"192.0.2.1", "192.0.2.1", "192.0.2.2", "192.0.2.2"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestValidateNodeIPs(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "192.0.2.7": "", "192.0.2.7,2001:db8::1": "", "here": "must be an IP address", "127.0.0.1": "loopback", "224.0.0.1": "multicast",
		"169.254.1.1": "link-local", "fe80::1": "link-local", "0.0.0.0": "unspecified", "192.0.2.7,192.0.2.8": "different families",
		"192.0.2.7,2001:db8::1,2001:db8::2": "must have at most 2 items",
	} {
		var ips []string
		if text != "" {
			ips = strings.Split(text, ",")
		}
		err := ValidateNodeIPs(field.NewPath("nodeIPs"), ips).ToAggregate()
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	if _, err := HostAddresses(AddressConfig{NodeIPs: []string{"x"}}); err == nil {
		t.Error("a bad address is accepted")
	}
}

func TestAddressOnHost(t *testing.T) {
	if err := AddressOnHost(net.IPv4(127, 0, 0, 1)); err != nil {
		t.Error(err)
	}
	if err := AddressOnHost(net.ParseIP("192.0.2.254")); err == nil {
		t.Error("an address of nobody is taken for ours")
	}
}
