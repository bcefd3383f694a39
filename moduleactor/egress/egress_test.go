package egress_test

import (
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wazlet/wazlet/moduleactor/egress"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]string{
		"*":                     "*",
		"*:443":                 "*:443",
		"10.0.0.0/8":            "10.0.0.0/8",
		"10.1.2.3/8:1-2":        "10.0.0.0/8:1-2",
		"10.1.2.3":              "10.1.2.3",
		"10.1.2.3:53":           "10.1.2.3:53",
		"2001:db8::/32":         "2001:db8::/32",
		"[2001:db8::/32]:443":   "[2001:db8::/32]:443",
		"[2001:db8::1]":         "2001:db8::1",
		"::ffff:10.0.0.1":       "10.0.0.1",
		"::ffff:10.0.0.0/104":   "10.0.0.0/8",
		"Example.COM.:80":       "example.com:80",
		"*.example.com:80-8080": "*.example.com:80-8080",
		"my_service":            "my_service",
		"a.b:65535":             "a.b:65535",
	} {
		r, err := egress.Parse(text)
		if err != nil || r.String() != want {
			t.Errorf("%s: %s, %v, want %s", text, r, err, want)
		}
		again, err := egress.Parse(want)
		if err != nil || again != r {
			t.Errorf("%s reads as %s, %v", want, again, err)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	const target = "want an address, a CIDR, a host name, *.name or *, each with :port or :first-last if need be"
	for text, want := range map[string]string{
		"":                        target,
		":80":                     target,
		"10.0.0":                  target, // an address that is none must not become a name
		"10.0.0.0/33":             target,
		"10.0.0.256":              target,
		"https://example.com":     `port "//example.com": want a number from 1 to 65535`,
		"a..b":                    target,
		"-a":                      target,
		"*.*.a":                   target,
		"*a":                      target,
		"[::1":                    target,
		"[::1]x":                  target,
		"fe80::1%eth0":            target,
		strings.Repeat("a.", 130): target,
		"a:0":                     `port "0": want a number from 1 to 65535`,
		"a:65536":                 `port "65536": want a number from 1 to 65535`,
		"a:":                      `port "": want a number from 1 to 65535`,
		"a:1-":                    `port "": want a number from 1 to 65535`,
		"a:9-1":                   "ports 9-1: the first is above the last",
	} {
		if r, err := egress.Parse(text); err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%q: %v, %v, want %s", text, r, err, want)
		}
	}
	if _, err := egress.ParseList(strings.Repeat("a,", 257)); err == nil || err.Error() != "want at most 256 rules (got 257)" {
		t.Error(err)
	}
}

func TestAsk(t *testing.T) {
	for name, tc := range map[string]struct {
		annotations map[string]string
		want        string
		err         string
	}{
		"nothing": {want: "[]"},
		"ours":    {annotations: map[string]string{egress.Annotation: " a:1,\n b:2 "}, want: "[a:1 b:2]"},
		"Krustlet's": {
			annotations: map[string]string{egress.KrustletAnnotation: `["https://a", "http://b", "http://c:8080/path", "https://[::1]"]`},
			want:        "[a:443 b:80 c:8080 [::1]:443]",
		},
		"both": {
			annotations: map[string]string{egress.Annotation: "*", egress.KrustletAnnotation: `["http://b"]`}, want: "[* b:80]",
		},
		"ours is wrong": {
			annotations: map[string]string{egress.Annotation: "a:x"},
			err:         `annotation wazlet.dev/allowed-egress: rule "a:x": port "x": want a number from 1 to 65535`,
		},
		"Krustlet's is no list": {
			annotations: map[string]string{egress.KrustletAnnotation: "https://a"},
			err:         `annotation alpha.wasi.krustlet.dev/allowed-domains: want a JSON list of URLs, such as ["https://example.com"]`,
		},
		"Krustlet's has no URL": {
			annotations: map[string]string{egress.KrustletAnnotation: `["a"]`},
			err:         `annotation alpha.wasi.krustlet.dev/allowed-domains: URL "a": want scheme://host or scheme://host:port`,
		},
		"Krustlet's has another scheme": {
			annotations: map[string]string{egress.KrustletAnnotation: `["ftp://a"]`},
			err:         `annotation alpha.wasi.krustlet.dev/allowed-domains: URL "ftp://a": want http or https, or a port (got the scheme "ftp")`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			rules, err := egress.Ask(tc.annotations)
			if tc.err != "" {
				if err == nil || err.Error() != tc.err {
					t.Errorf("%v, want %s", err, tc.err)
				}
				return
			}
			got := make([]string, 0, len(rules))
			for _, r := range rules {
				got = append(got, r.String())
			}
			if text := "[" + strings.Join(got, " ") + "]"; text != tc.want || err != nil {
				t.Errorf("%s, %v, want %s", text, err, tc.want)
			}
		})
	}
}

func TestExcept(t *testing.T) {
	for _, tc := range []struct{ whole, part, want string }{
		{"127.0.0.0/8", "127.88.0.0/16", "127.128.0.0/9 127.0.0.0/10 127.96.0.0/11 127.64.0.0/12 127.80.0.0/13 127.92.0.0/14 127.90.0.0/15 127.89.0.0/16"},
		{"127.0.0.0/8", "10.244.0.0/24", "127.0.0.0/8"},
		{"127.0.0.0/8", "", "127.0.0.0/8"},
		{"127.0.0.0/8", "127.0.0.0/8", ""},
		{"127.0.0.0/8", "0.0.0.0/0", "127.0.0.0/8"},
		{"2001:db8::/32", "2001:db8:8000::/34", "2001:db8::/33 2001:db8:c000::/34"},
	} {
		if got := strings.Join(egress.Except(tc.whole, tc.part), " "); got != tc.want {
			t.Errorf("%s but %s: %s, want %s", tc.whole, tc.part, got, tc.want)
		}
	}
}

func rules(t *testing.T, text string) []egress.Rule {
	t.Helper()
	out, err := egress.ParseList(text)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestCheck(t *testing.T) {
	for name, tc := range map[string]struct {
		ask, allow, deny string
		to               string
		names            []string
		want             string // "" is allowed
	}{
		"nothing is asked for": {"", "*", "", "192.0.2.1:80", nil, "connection to 192.0.2.1:80 refused: it is not in the Pod's annotation wazlet.dev/allowed-egress"},
		"its own address":      {"", "", "*", "10.244.0.7:80", nil, ""},
		"its own, mapped":      {"", "", "*", "[::ffff:10.244.0.7]:80", nil, ""},
		"by prefix":            {"192.0.2.0/24", "*", "", "192.0.2.1:80", nil, ""},
		"by prefix, mapped":    {"192.0.2.0/24", "*", "", "[::ffff:192.0.2.1]:80", nil, ""},
		"another port":         {"192.0.2.0/24:443", "*", "", "192.0.2.1:80", nil, "connection to 192.0.2.1:80 refused: it is not in the Pod's annotation wazlet.dev/allowed-egress"},
		"a port of a range":    {"*:80-90", "*", "", "192.0.2.1:90", nil, ""},
		"by name":              {"a.example:80", "*", "", "192.0.2.1:80", []string{"A.example."}, ""},
		"by another name":      {"a.example:80", "*", "", "192.0.2.1:80", []string{"b.example"}, "connection to 192.0.2.1:80 (b.example) refused: it is not in the Pod's annotation wazlet.dev/allowed-egress"},
		"by a name below":      {"*.example", "*", "", "192.0.2.1:80", []string{"x.a.example"}, ""},
		"not the name itself":  {"*.a.example", "*", "", "192.0.2.1:80", []string{"a.example"}, "connection to 192.0.2.1:80 (a.example) refused: it is not in the Pod's annotation wazlet.dev/allowed-egress"},
		"no name that ends so": {"*.example", "*", "", "192.0.2.1:80", []string{"badexample"}, "connection to 192.0.2.1:80 (badexample) refused: it is not in the Pod's annotation wazlet.dev/allowed-egress"},
		"the node denies":      {"*", "*", "127.0.0.0/8", "127.0.0.1:10248", nil, "connection to 127.0.0.1:10248 refused: the node's egress.deny has 127.0.0.0/8"},
		"a name that stands for what the node denies": {
			"a.example", "*", "169.254.0.0/16", "169.254.169.254:80",
			[]string{"a.example"},
			"connection to 169.254.169.254:80 (a.example) refused: the node's egress.deny has 169.254.0.0/16",
		},
		"what the node denies, through NAT64": {
			"*", "*", "169.254.0.0/16", "[64:ff9b::a9fe:a9fe]:80", nil, "connection to [64:ff9b::a9fe:a9fe]:80 refused: the node's egress.deny has 169.254.0.0/16",
		},
		"what the node denies, through a NAT64 of its own": {
			"*", "*", "127.0.0.0/8", "[64:ff9b:1::127.0.0.1]:80", nil, "connection to [64:ff9b:1::7f00:1]:80 refused: the node's egress.deny has 127.0.0.0/8",
		},
		"what the node denies, through 6to4": {
			"*", "*", "169.254.169.254:80", "[2002:a9fe:a9fe::1]:80", nil, "connection to [2002:a9fe:a9fe::1]:80 refused: the node's egress.deny has 169.254.169.254:80",
		},
		"what the node does not deny, through NAT64": {"*", "*", "127.0.0.0/8", "[64:ff9b::192.0.2.1]:80", nil, ""},
		"the node does not allow":                    {"*", "*.corp", "", "192.0.2.1:80", []string{"a.example"}, "connection to 192.0.2.1:80 (a.example) refused: it is not in the node's egress.allow"},
		"the node allows by name":                    {"192.0.2.0/24", "*.corp", "", "192.0.2.1:80", []string{"db.corp"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			p := egress.Policy{
				Own: []netip.Addr{netip.MustParseAddr("10.244.0.7")}, Ask: rules(t, tc.ask), Allow: rules(t, tc.allow), Deny: rules(t, tc.deny),
			}
			text, err := json.Marshal(p)
			if err != nil {
				t.Fatal(err)
			}
			var read egress.Policy
			if err := json.Unmarshal(text, &read); err != nil {
				t.Fatal(err)
			}
			got := ""
			if err := read.Check(netip.MustParseAddrPort(tc.to), tc.names...); err != nil {
				got = err.Error()
			}
			if d := cmp.Diff(tc.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

// What is read is written so that it reads the same, and never matches what it does not name.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"*", "*.a:1-2", "10.0.0.0/8:80", "[::1]:1", "::ffff:1.2.3.4", "a.b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		list, err := egress.ParseList(text)
		if err != nil {
			return
		}
		for _, r := range list {
			again, err := egress.Parse(r.String())
			if err != nil || again != r {
				t.Fatalf("%q: %s reads as %s, %v", text, r, again, err)
			}
		}
		p := egress.Policy{Ask: list, Allow: list}
		named := strings.ContainsAny(text, "*./0123456789:")
		if p.Check(netip.MustParseAddrPort("203.0.113.9:7")) == nil && !named && !slices.Equal(list, nil) {
			t.Fatalf("%q allows an address without naming one", text)
		}
	})
}
