package resolver

import (
	"strings"
	"testing"
)

// What is written of what was read is read as the same.
func FuzzParse(f *testing.F) {
	for _, text := range []string{"search a. b..\nnameserver fe80::1%x\noptions ndots:5 a:1 a :", "domain a # b", ";", "options ndots:99"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := Parse(strings.NewReader(text))
		if err != nil {
			return
		}
		again, err := Parse(strings.NewReader(c.String()))
		if err != nil || again.String() != c.String() {
			t.Errorf("%q has become %q (%v)", c.String(), again.String(), err)
		}
	})
}

// A name is only found where it stands, and what is found are addresses.
func FuzzHosts(f *testing.F) {
	f.Add(hosts, "db")
	f.Add("::1 a\n\t1.2.3.4\r A", "a")
	f.Fuzz(func(t *testing.T, text, name string) {
		list := inHosts(text, name)
		for _, a := range list {
			if !a.IsValid() {
				t.Errorf("%q has an invalid address of %q", text, name)
			}
		}
		if len(list) > 0 && !strings.Contains(strings.ToLower(text), name) {
			t.Errorf("%q has %v of %q", text, list, name)
		}
	})
}
