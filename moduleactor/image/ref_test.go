package image

import (
	"strings"
	"testing"
)

func TestReferences(t *testing.T) {
	d := "sha256:" + strings.Repeat("ab", 32)
	tests := []struct {
		in, key, digest, base string
		policy                PullPolicy
	}{
		{in: "hello", key: "docker.io/library/hello:latest", base: "hello", policy: Always},
		{in: "hello:latest", key: "docker.io/library/hello:latest", base: "hello", policy: Always},
		{in: "hello:v1", key: "docker.io/library/hello:v1", base: "hello", policy: IfNotPresent},
		{in: "me/hello", key: "docker.io/me/hello:latest", base: "hello", policy: Always},
		{in: "docker.io/me/hello:1", key: "docker.io/me/hello:1", base: "hello", policy: IfNotPresent},
		{in: "localhost:5000/hello", key: "localhost:5000/hello:latest", base: "hello", policy: Always},
		{in: "ghcr.io/a/b/c:V_1.x-y", key: "ghcr.io/a/b/c:V_1.x-y", base: "c", policy: IfNotPresent},
		{in: "ghcr.io/a/b@" + d, key: "ghcr.io/a/b@" + d, digest: d, base: "b", policy: IfNotPresent},
		{in: "ghcr.io/a/b:latest@" + d, key: "ghcr.io/a/b@" + d, digest: d, base: "b", policy: IfNotPresent},
	}
	for _, tt := range tests {
		r, err := parseReference(tt.in)
		if err != nil {
			t.Errorf("%s: %v", tt.in, err)
			continue
		}
		if r.key() != tt.key || r.digest() != tt.digest || r.baseName() != tt.base || r.defaultPolicy() != tt.policy {
			t.Errorf("%s: key %s, digest %q, base %s, policy %s; want %+v", tt.in, r.key(), r.digest(), r.baseName(), r.defaultPolicy(), tt)
		}
	}
}

func TestBadReferences(t *testing.T) {
	for in, says := range map[string]string{
		"":                                  "it is empty",
		" hello":                            "white space",
		"https://ghcr.io/x":                 "URL scheme",
		"UPPER/case":                        "UPPER",
		"hello:" + strings.Repeat("x", 200): "tag",
		"hello:a b":                         "tag",
		"hello@sha256:short":                "64 lower-case",
		"hello@sha512:" + strings.Repeat("0", 128): "not a sha256 digest",
		"hello@md5:0": "not a sha256 digest",
		"hello@sha256:" + strings.Repeat("AB", 32):              "64 lower-case",
		"hello@sha256:" + strings.Repeat("a", 64) + "@sha256:x": "64 lower-case",
		"a//b":        "invalid reference format",
		"../../../x":  "invalid reference format",
		"x.y/../z":    "invalid reference format",
		"x.y/a-/z":    "invalid reference format",
		"-x.y/a":      "invalid reference format",
		"hello\x00:x": "couldn't parse",
	} {
		_, err := parseReference(in)
		if err == nil {
			t.Errorf("%q is accepted", in)
			continue
		}
		if reasonOf(t, err) != InvalidImageName || !strings.Contains(err.Error(), says) ||
			!strings.HasPrefix(err.Error(), "Failed to apply default image tag ") {
			t.Errorf("%q: %v; want InvalidImageName that says %q", in, err, says)
		}
	}
	s := openStore(t)
	if _, err := s.Ensure(t.Context(), "UPPER", IfNotPresent); reasonOf(t, err) != InvalidImageName {
		t.Errorf("ensure: %v", err)
	}
}

func FuzzReference(f *testing.F) {
	for _, s := range []string{"a", "a:b", "a@sha256:" + strings.Repeat("0", 64), "x.y:1/a/b:c@d", "https://x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := parseReference(s)
		if err != nil {
			if reasonOf(t, err) != InvalidImageName {
				t.Errorf("%q: %v", s, err)
			}
			return
		}
		// The full spelling means the same.
		again, err := parseReference(r.key())
		if err != nil || again.key() != r.key() {
			t.Errorf("%q has the key %q, which has the key %q (%v)", s, r.key(), again.key(), err)
		}
	})
}
