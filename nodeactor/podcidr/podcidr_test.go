package podcidr

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"10.88.0.0/16", ""},
		{"127.88.0.0/16", ""},
		{"10.0.0.0/30", ""},
		{"10.0.0.0/31", "at most 30 bits"},
		{"10.0.0.0/32", "at most 30 bits"},
		{"10.88.0.1/16", "did you mean 10.88.0.0/16?"},
		{"fd00::/64", "no IPv6 addresses yet"},
		{"::ffff:10.0.0.0/112", "no IPv6 addresses yet"},
		{"10.88.0.0", "must be a network such as"},
		{"", "must be a network such as"},
		{"0.0.0.0/0", "unicast"},
		{"224.0.0.0/8", "unicast"},
		{"169.254.0.0/16", "unicast"},
	} {
		got, err := Parse(c.text)
		switch {
		case c.want == "" && (err != nil || got.String() != c.text):
			t.Errorf("Parse(%q) = %s, %v", c.text, got, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.text)):
			t.Errorf("Parse(%q): %v, want something with %q", c.text, err, c.want)
		}
	}
}

func TestChoose(t *testing.T) {
	for _, c := range []struct {
		cidrs         []string
		want, problem string
		ignored       []string
	}{
		{cidrs: []string{"10.244.1.0/24"}, want: "10.244.1.0/24"},
		{cidrs: []string{"fd00::/64", "10.244.1.0/24"}, want: "10.244.1.0/24", ignored: []string{"fd00::/64"}},
		{cidrs: []string{"10.1.0.0/24", "10.2.0.0/24"}, want: "10.1.0.0/24", ignored: []string{"10.2.0.0/24"}},
		{cidrs: []string{"fd00::/64"}, problem: "none of fd00::/64 can be used: must be a network of IPv4"},
		{problem: "none is given"},
	} {
		got, ignored, err := Choose(c.cidrs)
		if c.problem != "" {
			if err == nil || !strings.Contains(err.Error(), c.problem) || got.IsValid() {
				t.Errorf("Choose(%v) = %s, %v; want something with %q", c.cidrs, got, err, c.problem)
			}
			continue
		}
		if err != nil || got.String() != c.want || !cmp.Equal(ignored, c.ignored) {
			t.Errorf("Choose(%v) = %s, %v, %v; want %s, %v", c.cidrs, got, ignored, err, c.want, c.ignored)
		}
	}
}

// Every address of a network that Pods can have is given once, in order, and then none.
func TestNextGoesRound(t *testing.T) {
	for _, c := range []struct {
		cidr string
		want []string
	}{
		{"10.0.0.0/30", []string{"10.0.0.2"}},
		{"10.0.0.8/29", []string{"10.0.0.10", "10.0.0.11", "10.0.0.12", "10.0.0.13", "10.0.0.14"}},
	} {
		cidr, err := Parse(c.cidr)
		if err != nil {
			t.Fatal(err)
		}
		used := map[netip.Addr]bool{}
		isUsed := func(a netip.Addr) bool { return used[a] }
		var got []string
		for a, ok := cidr.Next(netip.Addr{}, isUsed); ok; a, ok = cidr.Next(a, isUsed) {
			used[a] = true
			got = append(got, a.String())
		}
		if d := cmp.Diff(c.want, got); d != "" || len(got) != cidr.Size() {
			t.Errorf("%s has %d addresses (-want +got):\n%s", c.cidr, cidr.Size(), d)
		}
	}
}

// One that was released is the last to be given again.
func TestNextSparesTheReleased(t *testing.T) {
	cidr, err := Parse("10.0.0.0/29")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	last := netip.Addr{}
	for range 7 { // each is released at once
		var ok bool
		if last, ok = cidr.Next(last, func(netip.Addr) bool { return false }); !ok {
			t.Fatal("none is left")
		}
		got = append(got, last.String())
	}
	want := []string{"10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6", "10.0.0.2", "10.0.0.3"}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	// The last one of another network says nothing.
	if a, ok := cidr.Next(netip.MustParseAddr("10.9.9.9"), func(netip.Addr) bool { return false }); !ok || a.String() != "10.0.0.2" {
		t.Errorf("after an address of another network: %s, %t", a, ok)
	}
}

func TestContains(t *testing.T) {
	cidr, err := Parse("10.0.0.0/24")
	if err != nil {
		t.Fatal(err)
	}
	for a, want := range map[string]bool{
		"10.0.0.0": false, "10.0.0.1": false, "10.0.0.2": true, "10.0.0.254": true, "10.0.0.255": false,
		"10.0.1.2": false, "9.255.255.254": false, "fd00::2": false,
	} {
		if got := cidr.Contains(netip.MustParseAddr(a)); got != want {
			t.Errorf("Contains(%s) = %t", a, got)
		}
	}
	if _, ok := (CIDR{}).Next(netip.Addr{}, func(netip.Addr) bool { return false }); ok || (CIDR{}).Size() != 0 {
		t.Error("the zero CIDR gives addresses")
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"10.0.0.0/24", "10.0.0.0/30", "127.88.0.0/16", "fd00::/64", "0.0.0.0/1", "x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := Parse(text)
		if err != nil {
			return
		}
		first, ok := c.Next(netip.Addr{}, func(netip.Addr) bool { return false })
		if !ok || c.Size() < 1 || !c.Contains(first) || !c.Prefix().Contains(first) {
			t.Errorf("%s: first address %s, %t, size %d", c, first, ok, c.Size())
		}
	})
}
