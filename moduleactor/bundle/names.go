package bundle

import "strings"

// Whatever is compiled once at the start of a process costs every shim: these are loops, not regular expressions.

// isUID: ^[A-Za-z0-9-]{1,64}$.
func isUID(s string) bool {
	return len(s) >= 1 && len(s) <= 64 && all(s, func(c byte) bool { return isAlnum(c) || c >= 'A' && c <= 'Z' || c == '-' })
}

// isLabel: ^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$.
func isLabel(s string) bool {
	return len(s) >= 1 && len(s) <= 63 && isAlnum(s[0]) && isAlnum(s[len(s)-1]) &&
		all(s, func(c byte) bool { return isAlnum(c) || c == '-' })
}

func isContainerID(s string) bool { return isHash(s, containerIDPrefix) }

func isDigest(s string) bool { return isHash(s, "sha256:") }

// isHash: prefix and 64 hexadecimal digits.
func isHash(s, prefix string) bool {
	hash, ok := strings.CutPrefix(s, prefix)
	return ok && len(hash) == 64 && all(hash, func(c byte) bool { return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' })
}

// isGeneration: ^[0-9a-f]{12}$.
func isGeneration(s string) bool {
	return len(s) == generationDigits && all(s, func(c byte) bool { return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' })
}

func isAlnum(c byte) bool { return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' }

func all(s string, is func(byte) bool) bool {
	for i := range len(s) {
		if !is(s[i]) {
			return false
		}
	}
	return true
}
