package certs

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"time"

	"go.uber.org/zap"
)

// filesEvery is how often the files are read. Reading beats watching here: it sees through the symbolic links of mounted
// Secrets and works on every file system, and the files are small.
const filesEvery = 10 * time.Second

// files follows a certificate and a key that somebody else renews.
type files struct {
	*Serving
	cert, key []byte
	// problem is the last error that was reported.
	problem string
}

func (f *files) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-f.Clock.After(filesEvery):
		}
		err := f.load()
		switch {
		case err == nil:
			f.problem = ""
		case err.Error() != f.problem:
			// Renewing two files is two steps; in between they do not match, which the next look heals.
			f.log.Warn("serving certificate not reloaded, the old one stays in use", zap.Error(err))
			f.problem = err.Error()
		}
	}
}

// load reads the files and takes what they hold into use if it has changed.
func (f *files) load() error {
	cert, err := os.ReadFile(f.CertFile)
	if err != nil {
		return fmt.Errorf("certFile: %w", err)
	}
	key, err := os.ReadFile(f.KeyFile)
	if err != nil {
		return fmt.Errorf("keyFile: %w", err)
	}
	if bytes.Equal(cert, f.cert) && bytes.Equal(key, f.key) {
		return nil
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return fmt.Errorf("certFile %s and keyFile %s: %w", f.CertFile, f.KeyFile, err)
	}
	if pair.Leaf == nil {
		return fmt.Errorf("certFile %s: %w", f.CertFile, errors.New("holds no certificate"))
	}
	f.cert, f.key = cert, key
	f.take(&pair)
	if now := f.Clock.Now(); now.After(pair.Leaf.NotAfter) {
		f.log.Warn("serving certificate has expired", zap.String("file", f.CertFile), zap.Time("not_after", pair.Leaf.NotAfter))
	}
	return nil
}
