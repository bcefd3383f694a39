package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/renameio/v2"
)

// Client moves modules to and from registries without a store of this machine.
type Client struct {
	cfg    Config
	remote *registries
}

// NewClient returns a client; of cfg it needs no Dir.
func NewClient(cfg Config) (*Client, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	r, err := newRemote(cfg)
	if err != nil {
		return nil, err
	}
	return &Client{cfg: cfg, remote: r}, nil
}

// Close closes idle connections.
func (c *Client) Close() error {
	c.remote.wire.close()
	return nil
}

// Pushed is what Push wrote. Digest is the module's.
type Pushed struct {
	Ref    string `json:"ref"`
	ID     string `json:"id"`
	Digest string `json:"digest"`
	Size   int64  `json:"size"`
	Format Format `json:"format"`
}

// Push packs a wasm file and uploads it. A component or anything else that is no core module is refused: it would not
// run on the nodes that pull it.
func (c *Client) Push(ctx context.Context, file, ref string, o PushOptions) (Pushed, error) {
	r, err := parseReference(ref)
	if err != nil {
		return Pushed{}, err
	}
	tag, ok := r.ref.(name.Tag)
	if !ok {
		return Pushed{}, fmt.Errorf("push %s: %q has a digest, which only the content can decide; give registry/repository:tag", file, ref)
	}
	if err := sniffFile(file); err != nil {
		return Pushed{}, fmt.Errorf("push %s: %w", file, err)
	}
	digest, size, err := digestFile(file)
	if err != nil {
		return Pushed{}, fmt.Errorf("push %s: %w", file, err)
	}
	if o.Format == "" {
		o.Format = FormatCNCF
	}
	a, err := newArtifact(module{path: file, digest: digest, size: size, name: fileName(file)}, o)
	if err != nil {
		return Pushed{}, fmt.Errorf("push %s: %w", file, err)
	}
	if err := c.write(ctx, tag, r, a); err != nil {
		return Pushed{}, fmt.Errorf("push %s to %w", file, explain(r.key(), err))
	}
	return Pushed{Ref: r.key(), ID: r.id(digestOf(a.raw)), Digest: digest, Size: size, Format: o.Format}, nil
}

func (c *Client) write(ctx context.Context, tag name.Tag, r reference, a *artifact) error {
	repo, err := name.NewRepository(tag.Context().Name(), c.remote.options(tag.RegistryStr())...)
	if err != nil {
		return err
	}
	auth, err := credentials(ctx, c.cfg.DockerConfig, repo.RegistryStr(), repo.RepositoryStr())
	if err != nil {
		return err
	}
	img, err := a.image()
	if err != nil {
		return err
	}
	updates, stop := make(chan v1.Update, 16), make(chan struct{})
	var told sync.WaitGroup
	told.Go(func() { c.tell(r, a, updates, stop) })
	err = remote.Write(repo.Tag(tag.TagStr()), img, remote.WithContext(ctx), remote.WithAuth(auth),
		remote.WithTransport(c.remote.wire), remote.WithProgress(updates))
	close(stop)
	told.Wait()
	return err
}

// tell passes on how far an upload is, until it is over.
func (c *Client) tell(r reference, a *artifact, updates <-chan v1.Update, stop <-chan struct{}) {
	total := a.module.size + int64(len(a.config)) + int64(len(a.raw))
	for {
		select {
		case u, ok := <-updates:
			if !ok {
				return
			}
			if u.Error == nil {
				c.cfg.Progress(Progress{Ref: r.text, Digest: a.module.digest, Done: min(u.Complete, total), Total: total})
			}
		case <-stop:
			return
		}
	}
}

// Pull downloads an image's module into file, which it replaces at once or not at all. With an empty file it is written
// where the module's name says, in the current directory, and nothing is replaced. It returns where it is.
func (c *Client) Pull(ctx context.Context, ref, file string) (Image, error) {
	r, err := parseReference(ref)
	if err != nil {
		return Image{}, err
	}
	var img Image
	err = c.withStore(func(s *Store) error {
		var err error
		if img, err = s.Ensure(ctx, ref, Always); err != nil {
			return err
		}
		if file == "" {
			if file = wasmName(img.Name); exists(file) {
				return fmt.Errorf("pull %s: file %s exists already; name another with -o", r.text, file)
			}
		}
		if err := copyFile(img.Module, file); err != nil {
			return fmt.Errorf("pull %s: write %s: %w", r.text, file, err)
		}
		return nil
	})
	img.Module, img.Rootfs = file, "" // the temporary store is gone
	return img, err
}

// withStore runs f with a store in a temporary directory.
func (c *Client) withStore(f func(*Store) error) error {
	dir, err := os.MkdirTemp("", "wazlet-pull-")
	if err != nil {
		return err
	}
	defer func() { _ = removeTree(dir) }()
	cfg := c.cfg
	cfg.Dir = dir
	s, err := Open(cfg)
	if err != nil {
		return err
	}
	return errors.Join(f(s), s.Close())
}

func wasmName(name string) string {
	if len(name) > 5 && name[len(name)-5:] == ".wasm" {
		return name
	}
	return name + ".wasm"
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func copyFile(from, to string) error {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close() //nolint:errcheck // only read
	dst, err := renameio.NewPendingFile(to, renameio.WithTempDir(filepath.Dir(to)), renameio.WithPermissions(0o644), renameio.WithExistingPermissions())
	if err != nil {
		return err
	}
	defer dst.Cleanup() //nolint:errcheck // after success there is nothing to clean up
	if _, err := io.Copy(dst, src); err != nil {
		return err
	}
	return dst.CloseAtomicallyReplace()
}
