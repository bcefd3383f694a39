package logs

import (
	"regexp"
	"testing"
)

// FuzzIsRotated compares the check with the regular expression that it stands for.
func FuzzIsRotated(f *testing.F) {
	want := regexp.MustCompile(`^\.\d{8}-\d{6}(\.gz)?$`)
	for _, s := range []string{
		"", ".gz", ".20261121-225500", ".20261121-225500.gz", ".20261121-225500.gz.gz", ".20261121-225500\n", "20261121-225500",
		".2026112a-225500", ".20261121.225500", ".20261121-2255000", ".20261121-22550", "_20261121-225500", ".20261121-225500.bz", ".2026112/-22550:",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if got := isRotated(s); got != want.MatchString(s) {
			t.Errorf("isRotated(%q) = %v", s, got)
		}
	})
}
