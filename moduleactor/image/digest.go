package image

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"os"
	"strings"
	"unicode"
)

// Digests are "sha256:" and 64 lower-case hexadecimal digits; no other algorithm is in use for images.
const digestPrefix = "sha256:"

// checkDigest looks whether a digest is one. The part behind its prefix is safe as a file name then.
func checkDigest(s string) error {
	h, ok := strings.CutPrefix(s, digestPrefix)
	if !ok {
		return fmt.Errorf("digest %q: not a sha256 digest", clip(s, 80))
	}
	if len(h) != sha256.Size*2 || strings.Trim(h, "0123456789abcdef") != "" {
		return fmt.Errorf("digest %q: not 64 lower-case hexadecimal digits", clip(s, 80))
	}
	return nil
}

func digestOf(b []byte) string {
	sum := sha256.Sum256(b)
	return digestPrefix + hex.EncodeToString(sum[:])
}

func digestSum(h hash.Hash) string { return digestPrefix + hex.EncodeToString(h.Sum(nil)) }

// digestFile hashes a whole file.
func digestFile(path string) (digest string, size int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", 0, err
	}
	defer f.Close() //nolint:errcheck // only read
	h := sha256.New()
	n, err := io.Copy(h, f)
	if err != nil {
		return "", 0, fmt.Errorf("read %s: %w", path, err)
	}
	return digestSum(h), n, nil
}

// clip shortens foreign text for a message and takes out what is not printable.
func clip(s string, n int) string {
	s = strings.Join(strings.Fields(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) { // controls, also those of 8 bits, and what turns the direction of text
			return ' '
		}
		return r
	}, s)), " ")
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}
