package image

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/utils/clock"
)

// Config says where images are kept and how registries are reached. Open and NewClient take it by value.
type Config struct {
	// Dir is the store's directory, created when missing. Several processes may use one at the same time. NewClient
	// does not look at it.
	Dir string

	// InsecureRegistries are hosts (host or host:port) that may be reached by plain HTTP or with a certificate nobody
	// vouches for. Loopback addresses may always be reached by plain HTTP.
	InsecureRegistries []string
	// Mirrors maps a registry's host ("docker.io", "registry.example.com:5000") to the mirrors asked before it, in
	// order: host[:port], with an optional path that is put before the repository.
	Mirrors map[string][]string
	// CAFiles are PEM files of authorities trusted beside the system's.
	CAFiles []string
	// DockerConfig is a docker config.json with credentials; empty: anonymous. It is read anew for each pull.
	DockerConfig string

	// MaxParallelPulls bounds how many images are downloaded at a time; default 4.
	MaxParallelPulls int
	// MaxImageBytes bounds the layers of an image, packed and unpacked alike; default 4 GiB.
	MaxImageBytes int64
	// MinAge is how long Collect spares an image after its last use; default 2m, as the kubelet's.
	MinAge time.Duration

	// Clock is the source of time; nil: the real one.
	Clock clock.WithDelayedExecution
	// Progress, if set, is told of downloads and uploads. It is called from several goroutines and must not block.
	Progress func(Progress)
	// Statfs tells the bytes of the file system under a path; nil: ask the kernel. Collect uses it.
	Statfs func(path string) (total, free uint64, err error)
}

// Progress is how far the transfer of one blob is.
type Progress struct {
	Ref, Digest string
	Done, Total int64
}

// withDefaults fills in what is zero and reports what cannot be.
func (c Config) withDefaults() (Config, error) {
	var errs []error
	if c.MaxParallelPulls == 0 {
		c.MaxParallelPulls = 4
	}
	if c.MaxParallelPulls < 0 {
		errs = append(errs, fmt.Errorf("maxParallelPulls: must be positive (got %d)", c.MaxParallelPulls))
	}
	if c.MaxImageBytes == 0 {
		c.MaxImageBytes = 4 << 30
	}
	if c.MaxImageBytes < 0 {
		errs = append(errs, fmt.Errorf("maxImageBytes: must be positive (got %d)", c.MaxImageBytes))
	}
	if c.MinAge == 0 {
		c.MinAge = 2 * time.Minute
	}
	if c.Clock == nil {
		c.Clock = clock.RealClock{}
	}
	if c.Progress == nil {
		c.Progress = func(Progress) {}
	}
	if c.Statfs == nil {
		c.Statfs = statfs
	}
	return c, errors.Join(errs...)
}

// Store keeps images on this machine. Its methods may be called from any goroutine.
type Store struct {
	cfg    Config
	disk   disk
	remote *registries
	slots  chan struct{} // one token for each pull under way
	pulls  flights[pulled]
	blobs  flights[struct{}]
}

// Open opens the store in cfg.Dir and clears away what an interrupted process left there.
func Open(cfg Config) (*Store, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	if cfg.Dir == "" {
		return nil, errors.New("image store: no directory given")
	}
	r, err := newRemote(cfg)
	if err != nil {
		return nil, err
	}
	s := &Store{cfg: cfg, disk: disk{cfg.Dir}, remote: r, slots: make(chan struct{}, cfg.MaxParallelPulls)}
	if err := s.disk.create(); err != nil {
		return nil, fmt.Errorf("image store %s: %w", cfg.Dir, err)
	}
	if err := s.disk.sweep(cfg.Clock.Now()); err != nil {
		return nil, fmt.Errorf("image store %s: %w", cfg.Dir, err)
	}
	return s, nil
}

// Close closes idle connections. The store may be used again.
func (s *Store) Close() error {
	s.remote.wire.close()
	return nil
}

// ErrNotFound is returned for a reference that the store does not hold.
var ErrNotFound = errors.New("image not found")

// Ensure returns the image, downloading it as the policy says; an empty policy is the kubelet's default for the
// reference. It blocks and obeys ctx. An error is an *Error. Callers that want the same image at the same time share one
// download, which ends when the last of them has lost interest.
//
// It speaks for the node itself: an image that is in the store may be used, whoever had it pulled.
func (s *Store) Ensure(ctx context.Context, ref string, policy PullPolicy) (Image, error) {
	return s.ensure(ctx, ref, policy, nil)
}

// EnsureWith is Ensure for a Pod that brings credentials, or none. Its keys are tried before the node's own. An image that
// was pulled with the credentials of other Pods is as good as absent for a Pod that has not the same: the registry is
// asked whether it may have it.
func (s *Store) EnsureWith(ctx context.Context, ref string, policy PullPolicy, keys Keys) (Image, error) {
	return s.ensure(ctx, ref, policy, &keys)
}

func (s *Store) ensure(ctx context.Context, ref string, policy PullPolicy, keys *Keys) (Image, error) {
	start := s.cfg.Clock.Now()
	r, err := parseReference(ref)
	if err != nil {
		return Image{}, err
	}
	if policy == "" {
		policy = r.defaultPolicy()
	}
	switch policy {
	case Always:
	case IfNotPresent, Never:
		img, ok, err := s.find(r, keys)
		if err != nil {
			return Image{}, sentence(ImageInspectError, "Failed to inspect image %q: %w", ref, err)
		}
		if ok {
			return img, nil
		}
		if policy == Never {
			return Image{}, sentence(ErrImageNeverPull, "Container image %q is not present with pull policy of Never", ref)
		}
	default:
		return Image{}, sentence(ErrImagePull, "Failed to pull image %q: unknown pull policy %q (allowed: Always, IfNotPresent, Never)", ref, string(policy))
	}
	p, err := s.share(ctx, r, keys)
	if err != nil {
		return Image{}, pullError(r, err)
	}
	img := s.image(r, p.entry, p.record)
	img.Took, img.Waited = s.cfg.Clock.Since(start), p.waited
	return img, nil
}

// share pulls, together with whoever wants the same with the same credentials.
func (s *Store) share(ctx context.Context, r reference, keys *Keys) (pulled, error) {
	var k Keys
	if keys != nil {
		k = *keys
	}
	if err := k.problem(); err != nil {
		return pulled{}, err
	}
	return s.pulls.do(ctx, r.key()+" "+k.fingerprint(), func(ctx context.Context) (pulled, error) { return s.pull(ctx, r, k) })
}

// Present returns the image if it is in the store, without asking a registry.
func (s *Store) Present(ref string) (Image, bool) { return s.present(ref, nil) }

// PresentWith is Present for a Pod: an image that it may not use is not there.
func (s *Store) PresentWith(ref string, keys Keys) (Image, bool) { return s.present(ref, &keys) }

func (s *Store) present(ref string, keys *Keys) (Image, bool) {
	r, err := parseReference(ref)
	if err != nil {
		return Image{}, false
	}
	img, ok, err := s.find(r, keys)
	return img, ok && err == nil
}

// find looks a reference up and notes that it was used. With keys, only what they permit is found.
func (s *Store) find(r reference, keys *Keys) (Image, bool, error) {
	entries, err := s.disk.readIndex()
	if err != nil {
		return Image{}, false, err
	}
	var mine []key
	if keys != nil {
		if mine, err = s.keysFor(r, *keys); err != nil {
			return Image{}, false, err
		}
	}
	for _, e := range entries {
		if !e.matches(r) || (keys != nil && !e.access.permits(mine)) {
			continue
		}
		rec, err := s.disk.readRecord(e.hex())
		if errors.Is(err, errNoRecord) {
			continue // half deleted: as good as absent
		}
		if err != nil {
			return Image{}, false, err
		}
		s.disk.touch(e.hex(), s.cfg.Clock.Now())
		img := s.image(r, e, rec)
		img.Present = true
		return img, true, nil
	}
	return Image{}, false, nil
}

// image is what callers see of a record.
func (s *Store) image(r reference, e entry, rec record) Image {
	img := Image{
		Ref: r.text, ID: e.id, Manifest: rec.Manifest,
		Module: s.disk.modulePath(e.hex(), rec), Digest: rec.ModuleDigest,
		Size: rec.Size, Format: rec.Format, Platform: rec.Platform, Name: rec.Name,
		Entrypoint: rec.Entrypoint, Cmd: rec.Cmd, Env: rec.Env, WorkingDir: rec.WorkingDir, Signals: rec.Signals,
	}
	if img.Name == "" {
		img.Name = r.baseName()
	}
	if rec.Rootfs {
		img.Rootfs = s.disk.image(e.hex()) + "/" + rootfsDir
	}
	return img
}
