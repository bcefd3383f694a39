package certs

import (
	"context"
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"go.uber.org/zap"
	"k8s.io/client-go/util/certificate"
	"k8s.io/klog/v2"

	"github.com/wazlet/wazlet/kube/logbridge"
)

// keep is how many certificates of the past stay on disk, for who wants to see what happened.
const keep = 3

// store keeps certificates in files, <dir>/<prefix>-<time>.pem, with a link <dir>/<prefix>-current.pem, and tells of each
// new one. A file that cannot be read counts as absent: a new certificate heals it, an error would not.
type store struct {
	certificate.FileStore
	dir, prefix string
	log         *zap.Logger
	accept      func(*tls.Certificate) error
	updated     func(*tls.Certificate)
}

func openStore(dir, prefix string, log *zap.Logger, updated func(*tls.Certificate)) (*store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("certificate directory: %w", err)
	}
	files, err := certificate.NewFileStoreWithLogger(logbridge.New(log).V(3), prefix, dir, dir, "", "")
	if err != nil {
		return nil, fmt.Errorf("certificate directory %s: %w", dir, err)
	}
	return &store{FileStore: files, dir: dir, prefix: prefix, log: log, updated: updated}, nil
}

// Current implements certificate.Store.
func (s *store) Current() (*tls.Certificate, error) {
	cert, err := s.FileStore.Current()
	if err == nil && s.accept != nil {
		err = s.accept(cert)
	}
	if err == nil {
		return cert, nil
	}
	if _, lstat := os.Lstat(s.CurrentPath()); lstat == nil {
		s.log.Warn("certificate is not used", zap.String("file", s.CurrentPath()), zap.Error(err))
	}
	none := certificate.NoCertKeyError(err.Error())
	return nil, &none
}

// Update implements certificate.Store.
func (s *store) Update(cert, key []byte) (*tls.Certificate, error) {
	updated, err := s.FileStore.Update(cert, key)
	if err != nil {
		return nil, err
	}
	s.updated(updated)
	s.prune()
	return updated, nil
}

// prune removes old certificates; their names sort by time.
func (s *store) prune() {
	files, err := filepath.Glob(filepath.Join(s.dir, s.prefix+"-[0-9]*.pem"))
	if err != nil || len(files) <= keep {
		return
	}
	slices.Sort(files)
	for _, f := range files[:len(files)-keep] {
		if err := os.Remove(f); err != nil {
			s.log.Warn("remove an old certificate", zap.Error(err))
		}
	}
}

// logged is the context that client-go's manager takes its logger from.
func logged(ctx context.Context, log *zap.Logger) *context.Context {
	ctx = klog.NewContext(ctx, logbridge.New(log))
	return &ctx
}
