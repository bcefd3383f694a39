package image

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/klauspost/compress/zstd"
)

// maxWindow is the largest zstd window that a layer may need, and so about what unpacking it takes of the daemon's memory:
// as much as `zstd -d` takes without being asked to. The library's own limit is four times that.
const maxWindow = 128 << 20

// isZstd looks at the first bytes of a blob.
func isZstd(file string) (bool, error) {
	f, err := os.Open(file)
	if err != nil {
		return false, err
	}
	defer f.Close() //nolint:errcheck // only read
	head := make([]byte, 4)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return false, err
	}
	return bytes.Equal(head[:n], []byte{0x28, 0xb5, 0x2f, 0xfd}), nil
}

// openZstd opens a blob that isZstd.
func openZstd(file string) (io.ReadCloser, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	d, err := zstd.NewReader(f, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return zstdLayer{d, f}, nil
}

// zstdLayer is a layer that is being uncompressed.
type zstdLayer struct {
	decoder *zstd.Decoder
	file    *os.File
}

func (z zstdLayer) Read(p []byte) (int, error) {
	n, err := z.decoder.Read(p)
	switch {
	case errors.Is(err, zstd.ErrWindowSizeExceeded), errors.Is(err, zstd.ErrDecoderSizeExceeded):
		err = refuse("compress it without --long", "a layer needs a zstd window of more than %d MiB", maxWindow>>20)
	case err != nil && !errors.Is(err, io.EOF):
		err = fmt.Errorf("zstd: %w", err)
	}
	return n, err
}

func (z zstdLayer) Close() error {
	z.decoder.Close()
	return z.file.Close()
}
