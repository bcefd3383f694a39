package image

import (
	"context"
	"errors"
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
	// MinAge is how long Collect spares an image after its last use; default 2m.
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

// Store keeps images on this machine. Its methods may be called from any goroutine.
type Store struct{}

// Stored is one reference in the store.
type Stored struct {
	// Ref is the full reference, ID the digest reference, Digest the digest of the module, Size the bytes of all blobs.
	Ref        string    `json:"ref"`
	ID         string    `json:"id"`
	Digest     string    `json:"digest"`
	Size       int64     `json:"size"`
	Format     Format    `json:"format"`
	ImportedAt time.Time `json:"importedAt"`
	LastUsed   time.Time `json:"lastUsed"`
}

// Format is how a module is packed.
type Format string

// The formats that are understood. Those but File and TarImage are artifacts with one wasm layer.
const (
	FormatFile      Format = "file"        // a wasm file, not packed at all
	FormatCNCF      Format = "cncf"        // CNCF TAG Runtime's wasm artifact; what push writes by default
	FormatWasmToOCI Format = "wasm-to-oci" // what wasm-to-oci writes
	FormatBytecode  Format = "bytecode-alliance"
	FormatTarImage  Format = "image" // a container image with a .wasm in it
	FormatSolo      Format = "solo"
	FormatORAS      Format = "oras"
)

// errNotYet is for the minutes until the bodies are here.
var errNotYet = errors.New("not yet")

// Open opens the store in cfg.Dir and clears away what an interrupted process left there.
func Open(cfg Config) (*Store, error) { _ = cfg; return nil, errNotYet }

// Ensure returns the image, downloading it as the policy says. It blocks and obeys ctx. An error is an *Error. Callers
// that want the same image at the same time share one download.
func (s *Store) Ensure(ctx context.Context, ref string, policy PullPolicy) (Image, error) {
	return Image{}, errNotYet
}

// Present returns the image if it is in the store, without asking a registry.
func (s *Store) Present(ref string) (Image, bool) { return Image{}, false }

// Import puts a wasm file into the store under ref, as a CNCF artifact.
func (s *Store) Import(ctx context.Context, file, ref string) (Stored, error) { return Stored{}, errNotYet }

// List returns what the store holds, sorted by reference.
func (s *Store) List() ([]Stored, error) { return nil, errNotYet }

// Remove forgets a reference and deletes what no other reference needs. ErrNotFound when there is none.
func (s *Store) Remove(ref string) error { return errNotYet }

// ErrNotFound is returned for a reference that the store does not hold.
var ErrNotFound = errors.New("image not found")

// Collected is what Collect freed.
type Collected struct {
	Images []string
	Bytes  int64
}

// Collect deletes images, least recently used first, when more than high percent of the file system is used, until no
// more than low percent is. An image is spared when inUse says so for its manifest's or its module's digest, or when it
// was used within MinAge.
func (s *Store) Collect(ctx context.Context, inUse func(digest string) bool, high, low int) (Collected, error) {
	return Collected{}, errNotYet
}

// Client moves modules to and from registries without a store.
type Client struct{}

// NewClient returns a client; of cfg it needs no Dir.
func NewClient(cfg Config) (*Client, error) { _ = cfg; return nil, errNotYet }

// PushOptions say how a module is packed.
type PushOptions struct {
	// Format is FormatCNCF (default) or FormatWasmToOCI.
	Format Format
	// Annotations go into the manifest.
	Annotations map[string]string
	// Created goes into a CNCF artifact's config; zero: left out, so that the same module always gives the same digest.
	Created time.Time
}

// Pushed is what Push wrote.
type Pushed struct {
	Ref    string `json:"ref"`
	ID     string `json:"id"`
	Digest string `json:"digest"`
	Size   int64  `json:"size"`
}

// Push packs a wasm file and uploads it.
func (c *Client) Push(ctx context.Context, file, ref string, o PushOptions) (Pushed, error) {
	return Pushed{}, errNotYet
}

// Pull downloads an image's module into file, which it replaces at once or not at all.
func (c *Client) Pull(ctx context.Context, ref, file string) (Image, error) { return Image{}, errNotYet }
