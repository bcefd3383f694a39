package image

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sync/errgroup"
)

// pulled is the outcome of a pull that several callers may share.
type pulled struct {
	entry  entry
	record record
	waited time.Duration
}

// parallelLayers bounds the layers of one image that are downloaded at a time, as in containerd.
const parallelLayers = 3

// pull waits for a slot and gets the image from the first source that has it.
func (s *Store) pull(ctx context.Context, r reference, keys Keys) (pulled, error) {
	start := s.cfg.Clock.Now()
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-ctx.Done():
		return pulled{}, context.Cause(ctx)
	}
	waited := s.cfg.Clock.Since(start)
	sources, err := s.remote.sources(r)
	if err != nil {
		return pulled{}, err
	}
	var failed []error
	for i, repo := range sources {
		p, err := s.pullFrom(ctx, r, repo, keys)
		if err == nil {
			p.waited = waited
			return p, nil
		}
		if ctx.Err() != nil || isRefusal(err) {
			return pulled{}, err
		}
		if i < len(sources)-1 {
			err = fmt.Errorf("mirror %s: %w", repo.RegistryStr(), err)
		}
		failed = append(failed, err)
	}
	return pulled{}, sourcesError(failed)
}

// sourcesError is the registry's own error with those of the mirrors behind it: what the registry says counts.
func sourcesError(failed []error) error {
	err := failed[len(failed)-1]
	for _, f := range failed[:len(failed)-1] {
		err = fmt.Errorf("%w (%s)", err, f.Error())
	}
	return err
}

// pullFrom pulls from one repository, with the first credentials that it accepts.
func (s *Store) pullFrom(ctx context.Context, r reference, repo name.Repository, keys Keys) (pulled, error) {
	var failure error
	for _, d := range s.remote.doors(ctx, repo, transport.PullScope, keys) {
		p, err := s.pullThrough(ctx, r, d)
		if err == nil {
			return p, nil
		}
		if !errors.Is(err, errNoDoor) {
			failure = err
		}
		if ctx.Err() != nil || !denied(err) {
			break
		}
	}
	return pulled{}, failure
}

// pullThrough pulls with certain credentials. When another process deletes parts of the image meanwhile, it starts over.
func (s *Store) pullThrough(ctx context.Context, r reference, d door) (pulled, error) {
	sess, err := d.open()
	if err != nil {
		return pulled{}, err
	}
	const tries = 3
	for range tries {
		var f fetched
		f, err = s.fetch(ctx, r, sess)
		var rec record
		if err == nil {
			rec, err = s.disk.unpack(ctx, f.manifest.digest, f.plan, s.cfg.MaxImageBytes)
		}
		var e entry
		if err == nil {
			e, err = s.add(r, f, d.grant())
		}
		if err == nil {
			return pulled{entry: e, record: rec}, nil
		}
		if !errors.Is(err, errVanished) && !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	return pulled{}, err
}

// errVanished says that somebody deleted what a pull had just got.
var errVanished = errors.New("parts of the image were deleted while it was pulled")

// fetched is an image whose blobs are all in the store.
type fetched struct {
	top       string // digest of what the reference stood for
	manifest  blobOf
	mediaType types.MediaType
	plan      plan
}

// fetch gets all blobs of an image.
func (s *Store) fetch(ctx context.Context, r reference, sess *session) (fetched, error) {
	f, err := s.fetchManifest(ctx, r, sess)
	if err != nil {
		return f, err
	}
	m := f.plan.manifest
	raw, err := s.fetchConfig(ctx, r, sess, m.Config)
	if err != nil {
		return f, fmt.Errorf("config: %w", err)
	}
	c, err := parseConfig(m, raw)
	if err != nil {
		return f, err
	}
	if f.plan, err = makePlan(m, c, s.cfg.MaxImageBytes); err != nil {
		return f, err
	}
	return f, s.fetchLayers(ctx, r, sess, m.Layers)
}

// fetchManifest gets the manifest of the image, through an index if there is one.
func (s *Store) fetchManifest(ctx context.Context, r reference, sess *session) (fetched, error) {
	id := r.ref.Identifier()
	got, err := sess.manifest(ctx, s.cfg.Clock, id)
	if err != nil {
		return fetched{}, err
	}
	f := fetched{top: got.digest}
	parsed, err := parseManifest(got.raw)
	if err != nil {
		return f, err
	}
	if parsed.index != nil {
		desc, err := choose(parsed.index)
		if err != nil {
			return f, err
		}
		if got, err = sess.manifest(ctx, s.cfg.Clock, desc.Digest.String()); err != nil {
			return f, err
		}
		if parsed, err = parseManifest(got.raw); err != nil {
			return f, err
		}
		if parsed.image == nil {
			return f, refuse("", "its index leads to another index")
		}
	}
	f.manifest, f.plan.manifest = got, parsed.image
	f.mediaType = parsed.image.MediaType
	if f.mediaType == "" {
		f.mediaType = types.OCIManifestSchema1
	}
	return f, s.disk.putBlob(got.digest[len(digestPrefix):], got.raw)
}

// fetchConfig gets the config, which is needed before anything else is downloaded.
func (s *Store) fetchConfig(ctx context.Context, r reference, sess *session, desc v1.Descriptor) ([]byte, error) {
	if desc.Size > maxConfig {
		return nil, refuse("", "its config has %d bytes, more than %d", desc.Size, maxConfig)
	}
	if len(desc.Data) > 0 && int64(len(desc.Data)) == desc.Size && digestOf(desc.Data) == desc.Digest.String() {
		return desc.Data, s.disk.putBlob(desc.Digest.Hex, desc.Data)
	}
	if err := s.fetchBlob(ctx, r, sess, desc); err != nil {
		return nil, err
	}
	return s.disk.readBlob(desc.Digest.Hex, maxConfig)
}

func (s *Store) fetchLayers(ctx context.Context, r reference, sess *session, layers []v1.Descriptor) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallelLayers)
	for _, l := range layers {
		g.Go(func() error { return s.fetchBlob(ctx, r, sess, l) })
	}
	return g.Wait()
}

// fetchBlob gets one blob unless it is there; whoever wants the same one meanwhile waits for it.
func (s *Store) fetchBlob(ctx context.Context, r reference, sess *session, desc v1.Descriptor) error {
	_, err := s.blobs.do(ctx, desc.Digest.String(), func(ctx context.Context) (struct{}, error) {
		d := download{disk: s.disk, session: sess, clock: s.cfg.Clock, desc: desc, report: func(done int64) {
			s.cfg.Progress(Progress{Ref: r.text, Digest: desc.Digest.String(), Done: done, Total: desc.Size})
		}}
		return struct{}{}, d.run(ctx)
	})
	return err
}

// add writes a reference that was pulled into the index, with the grant it was pulled by.
func (s *Store) add(r reference, f fetched, g *grant) (entry, error) {
	return s.put(r, f, func(old, next *entry) {
		switch {
		case g == nil:
		case old == nil || old.id != next.id:
			next.access = access{*g}
		default:
			next.access = old.access.with(g)
		}
	})
}

// put writes the reference into the index, if all that belongs to it is still there. Fill completes the entry, given the
// one that it replaces; nil if there is none.
func (s *Store) put(r reference, f fetched, fill func(old, next *entry)) (entry, error) {
	hash, err := v1.NewHash(f.manifest.digest)
	if err != nil {
		return entry{}, err
	}
	unlock, err := s.disk.lock()
	if err != nil {
		return entry{}, err
	}
	defer unlock()
	if !s.disk.hasAll(hash.Hex) {
		return entry{}, errVanished
	}
	now := s.cfg.Clock.Now()
	e := entry{
		ref: r.key(), id: r.id(f.top), added: now,
		manifest: v1.Descriptor{MediaType: f.mediaType, Digest: hash, Size: int64(len(f.manifest.raw))},
	}
	entries, err := s.disk.readIndex()
	if err != nil {
		return entry{}, err
	}
	var keep []entry
	var before *entry
	for i, old := range entries {
		if old.ref != e.ref {
			keep = append(keep, old)
		} else {
			before = &entries[i]
		}
	}
	fill(before, &e)
	s.disk.touch(hash.Hex, now)
	return e, s.disk.writeIndex(append(keep, e))
}
