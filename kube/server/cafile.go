package server

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
)

// A CAFile is a file of PEM certificates that is read again when it changes: its Pool is a TLSConfig.ClientCAs.
type CAFile struct {
	path     string
	onChange func(error)

	mu   sync.Mutex
	seen fs.FileInfo
	pool *x509.CertPool
}

// NewCAFile reads the file; it must hold a certificate. onChange, which may be nil, is told of each later change, with
// an error if the new content cannot be used: the certificates of before then stay.
func NewCAFile(path string, onChange func(error)) (*CAFile, error) {
	if onChange == nil {
		onChange = func(error) {}
	}
	f := &CAFile{path: path, onChange: onChange}
	var err error
	if f.seen, err = os.Stat(path); err != nil {
		return nil, fmt.Errorf("client CA: %w", err)
	}
	if f.pool, err = readPool(path); err != nil {
		return nil, err
	}
	return f, nil
}

// Pool returns the certificates of the moment. Looking at the file each time costs microseconds a handshake and needs
// no watch that could be lost when directories are swapped.
func (f *CAFile) Pool() *x509.CertPool {
	f.mu.Lock()
	defer f.mu.Unlock()
	now, err := os.Stat(f.path)
	if err != nil || same(f.seen, now) {
		return f.pool // a file that is gone for a moment is being replaced
	}
	f.seen = now
	pool, err := readPool(f.path)
	if err == nil {
		f.pool = pool
	}
	f.onChange(err)
	return f.pool
}

func same(a, b fs.FileInfo) bool {
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}

func readPool(path string) (*x509.CertPool, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("client CA: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("client CA: %s: %w", path, errors.New("no PEM certificate found"))
	}
	return pool, nil
}
