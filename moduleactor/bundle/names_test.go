package bundle

import (
	"regexp"
	"strings"
	"testing"
)

// FuzzNames compares the checks with the regular expressions that they stand for.
func FuzzNames(f *testing.F) {
	checks := []struct {
		name    string
		is      func(string) bool
		pattern *regexp.Regexp
	}{
		{"isUID", isUID, regexp.MustCompile(`^[A-Za-z0-9-]{1,64}$`)},
		{"isLabel", isLabel, regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)},
		{"isContainerID", isContainerID, regexp.MustCompile(`^wazlet://[0-9a-f]{64}$`)},
		{"isDigest", isDigest, regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)},
	}
	hash := strings.Repeat("0f", 32)
	for _, s := range []string{
		"", "a", "-", "a-", "-a", "a-b", "A", "Z9-z", "a\n", "a.b", "a/b", "..", "é", "\x00", "[", "@", "`", "{", "/", ":",
		strings.Repeat("a", 63), strings.Repeat("a", 64), strings.Repeat("a", 65),
		hash, "sha256:" + hash, "sha256:" + hash + "0", "sha256:" + hash[1:], "sha256:" + strings.ToUpper(hash), "sha256:" + hash[1:] + "g",
		"sha256:" + hash + "\n", "wazlet://" + hash, "wazlet:/" + hash, "wazlet://" + hash[1:] + "/", "sha256:", "wazlet://",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, c := range checks {
			if got, want := c.is(s), c.pattern.MatchString(s); got != want {
				t.Errorf("%s(%q) = %v, want %v", c.name, s, got, want)
			}
		}
	})
}
