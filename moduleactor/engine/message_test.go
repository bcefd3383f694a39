package engine

import (
	"strings"
	"testing"
	"unicode/utf8"
)

// TestMessagesAreHarmless: what a guest calls its functions comes to terminals, by kubectl exec and kubectl get.
func TestMessagesAreHarmless(t *testing.T) {
	if got, want := clip("wasm error\n\tat \x1b]0;title\x07\u009b2J\rf\xff\x00\x7f()"), "wasm error\n\tat \uFFFD]0;title\uFFFD\uFFFD2J\uFFFDf\uFFFD\uFFFD\uFFFD()"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := clip(strings.Repeat("\x1b", MaxMessage)); len(got) > MaxMessage || !utf8.ValidString(got) {
		t.Errorf("%d bytes, valid: %t", len(got), utf8.ValidString(got))
	}
}
