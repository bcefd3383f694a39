package image

import (
	"io"
	"strings"
	"testing"
)

// TestZstdWindow: a few bytes can demand half a gigabyte of memory.
func TestZstdWindow(t *testing.T) {
	frame := func(windowLog byte) string { // a header and one empty raw block
		return string([]byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, (windowLog - 10) << 3, 0x01, 0x00, 0x00})
	}
	for _, tt := range []struct {
		name, content string
		zstd          bool
		says          string // empty: it can be read
	}{
		{"small window", frame(20), true, ""},
		{"largest window", frame(27), true, ""},
		{"too large", frame(28), true, "needs a zstd window of more than 128 MiB"},
		{"half a gigabyte", frame(29), true, "needs a zstd window of more than 128 MiB"},
		{"hidden in a later frame", frame(20) + frame(29), true, "needs a zstd window"},
		{"damaged", frame(20)[:7], true, "zstd: "},
		{"gzip", "\x1f\x8b\x08\x00", false, ""},
		{"short", "(", false, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			file := writeFile(t, "layer", tt.content)
			if yes, err := isZstd(file); yes != tt.zstd || err != nil {
				t.Fatalf("zstd: %t, %v; want %t", yes, err, tt.zstd)
			}
			if !tt.zstd {
				return
			}
			r, err := openZstd(file)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close() //nolint:errcheck // only read
			_, err = io.ReadAll(r)
			if (err == nil) != (tt.says == "") || err != nil && !strings.Contains(err.Error(), tt.says) {
				t.Errorf("read: %v, want %q", err, tt.says)
			}
		})
	}
}
