package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"k8s.io/utils/clock"
)

// Hostile registries may send any amount; these bound what is taken.
const (
	maxManifest = 4 << 20
	maxConfig   = 4 << 20
	maxLayers   = 128
)

// registries is the way to registries: transport, credentials and mirrors.
type registries struct {
	wire         *wire
	dockerConfig string
	mirrors      map[string][]string // by the registry as ggcr spells it
	clock        clock.WithDelayedExecution
}

func newRemote(cfg Config) (*registries, error) {
	w, err := newWire(cfg.InsecureRegistries, cfg.CAFiles)
	if err != nil {
		return nil, err
	}
	r := &registries{wire: w, dockerConfig: cfg.DockerConfig, clock: cfg.Clock, mirrors: map[string][]string{}}
	for host, mirrors := range cfg.Mirrors {
		reg, err := name.NewRegistry(host)
		if err != nil || host == "" {
			return nil, fmt.Errorf("mirrors[%q]: not a registry's host or host:port", host)
		}
		for i, m := range mirrors {
			if !isMirror(m) {
				return nil, fmt.Errorf("mirrors[%q][%d]: %q is not host[:port][/path]", host, i, m)
			}
		}
		r.mirrors[reg.RegistryStr()] = mirrors
	}
	return r, nil
}

// isMirror says whether a mirror is written host[:port][/path], such that the host cannot be taken for a path.
func isMirror(m string) bool {
	host, path, hasPath := strings.Cut(m, "/")
	if !registryGrammar.MatchString(host) || (hasPath && !repositoryGrammar.MatchString(path)) {
		return false
	}
	return strings.ContainsAny(host, ".:") || host == "localhost"
}

// sources are the repositories to ask for a reference: the mirrors of its registry, then the registry.
func (r *registries) sources(ref reference) ([]name.Repository, error) {
	origin := ref.ref.Context()
	var out []name.Repository
	for _, m := range r.mirrors[origin.RegistryStr()] {
		repo, err := name.NewRepository(m+"/"+origin.RepositoryStr(), r.options(m)...)
		if err != nil {
			return nil, fmt.Errorf("mirror %s: %w", m, err)
		}
		out = append(out, repo)
	}
	repo, err := name.NewRepository(origin.Name(), r.options(origin.RegistryStr())...)
	if err != nil {
		return nil, err
	}
	return append(out, repo), nil
}

// options lets ggcr try plain HTTP where that is allowed.
func (r *registries) options(host string) []name.Option {
	host, _, _ = strings.Cut(host, "/")
	if r.wire.isInsecure(host) {
		return []name.Option{name.Insecure}
	}
	return nil
}

// session is an authenticated way to one repository.
type session struct {
	repo   name.Repository
	client *http.Client
}

// open goes to a repository with the node's own credentials, if it has any.
func (r *registries) open(ctx context.Context, repo name.Repository, scope string) (*session, error) {
	auth, err := credentials(ctx, r.dockerConfig, repo.RegistryStr(), repo.RepositoryStr())
	if err != nil {
		return nil, err
	}
	return r.openAs(ctx, repo, scope, auth)
}

// doors are the ways into a repository, in the order in which to try them: the keys, then the node's credentials, and
// nobody's only where there is nothing else.
func (r *registries) doors(ctx context.Context, repo name.Repository, scope string, keys Keys) []door {
	var out []door
	for _, k := range keys.matching(repo) {
		out = append(out, door{key: &k, open: func() (*session, error) {
			return r.openAs(ctx, repo, scope, authn.FromConfig(k.auth))
		}})
	}
	return append(out, door{open: func() (*session, error) {
		auth, err := credentials(ctx, r.dockerConfig, repo.RegistryStr(), repo.RepositoryStr())
		if err != nil {
			return nil, err
		}
		if len(out) > 0 && auth == authn.Anonymous {
			return nil, errNoDoor
		}
		return r.openAs(ctx, repo, scope, auth)
	}})
}

// errNoDoor is a way that is none.
var errNoDoor = errors.New("the node has no credentials")

// openAs asks the registry how it wants to be talked to and gets a token if it wants one.
func (r *registries) openAs(ctx context.Context, repo name.Repository, scope string, auth authn.Authenticator) (*session, error) {
	var err error
	var rt http.RoundTripper
	err = retry(ctx, r.clock, func() (bool, error) {
		var err error
		rt, err = transport.NewWithContext(ctx, repo.Registry, auth, r.wire, []string{repo.Scope(scope)})
		return false, err
	})
	if err != nil {
		return nil, explain(spell(repo.Name()), err)
	}
	return &session{repo: repo, client: &http.Client{Transport: rt, CheckRedirect: checkRedirect}}, nil
}

// checkRedirect keeps a registry from sending us to services that only this machine can reach, such as a cloud's metadata
// service.
func checkRedirect(req *http.Request, via []*http.Request) error {
	if len(via) >= 10 {
		return errors.New("stopped after 10 redirects")
	}
	host, from := req.URL.Hostname(), via[0].URL.Hostname()
	ip := net.ParseIP(host)
	local := isLoopback(host) || (ip != nil && (ip.IsLinkLocalUnicast() || ip.IsUnspecified()))
	if local && host != from && !isLoopback(from) {
		return fmt.Errorf("the registry redirects to %s, an address of this machine", host)
	}
	return nil
}

// acceptedManifests is what a registry is told we understand, with the single manifests of all formats.
func acceptedManifests() string {
	return strings.Join([]string{
		string(types.OCIManifestSchema1), string(types.OCIImageIndex),
		string(types.DockerManifestSchema2), string(types.DockerManifestList),
	}, ", ")
}

// blobOf is bytes with their digest.
type blobOf struct {
	raw       []byte
	digest    string
	mediaType string
}

// manifest gets a manifest or index by tag or digest. A digest is verified.
func (s *session) manifest(ctx context.Context, c clock.Clock, id string) (blobOf, error) {
	what := spell(s.repo.Name()) + ":" + id
	if strings.HasPrefix(id, digestPrefix) {
		what = spell(s.repo.Name()) + "@" + id
	}
	var b blobOf
	err := retry(ctx, c, func() (bool, error) {
		var err error
		b, err = s.getManifest(ctx, id)
		return false, err
	})
	if err != nil {
		return blobOf{}, explain(what, err)
	}
	if strings.HasPrefix(id, digestPrefix) && b.digest != id {
		return blobOf{}, fmt.Errorf("%s: the registry sent a manifest with the digest %s", what, b.digest)
	}
	return b, nil
}

func (s *session) getManifest(ctx context.Context, id string) (blobOf, error) {
	resp, err := s.get(ctx, "manifests/"+id, http.Header{"Accept": {acceptedManifests()}})
	if err != nil {
		return blobOf{}, err
	}
	defer resp.Body.Close() //nolint:errcheck // only read
	if err := transport.CheckError(resp, http.StatusOK); err != nil {
		return blobOf{}, err
	}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxManifest+1))
	if err != nil {
		return blobOf{}, err
	}
	if len(raw) > maxManifest {
		return blobOf{}, fmt.Errorf("the manifest is larger than %d bytes", maxManifest)
	}
	return blobOf{raw: raw, digest: digestOf(raw), mediaType: resp.Header.Get("Content-Type")}, nil
}

// blob opens a blob at an offset. start is where the body really begins: a server without ranges begins at 0.
func (s *session) blob(ctx context.Context, digest string, offset int64) (body io.ReadCloser, start int64, err error) {
	h := http.Header{"Accept-Encoding": {"identity"}}
	if offset > 0 {
		h.Set("Range", fmt.Sprintf("bytes=%d-", offset))
	}
	resp, err := s.get(ctx, "blobs/"+digest, h)
	if err != nil {
		return nil, 0, err
	}
	switch resp.StatusCode {
	case http.StatusOK:
		return resp.Body, 0, nil
	case http.StatusPartialContent:
		if contentRangeStart(resp.Header.Get("Content-Range")) == offset {
			return resp.Body, offset, nil
		}
		err = errBadRange
	case http.StatusRequestedRangeNotSatisfiable:
		err = errBadRange
	default:
		err = transport.CheckError(resp)
	}
	_ = resp.Body.Close()
	return nil, 0, err
}

// errBadRange is a server that cannot continue where we are; the blob is then downloaded from its beginning.
var errBadRange = errors.New("the registry does not continue the download where it broke off")

// contentRangeStart reads "bytes 100-199/200"; -1 when it cannot.
func contentRangeStart(h string) int64 {
	rest, ok := strings.CutPrefix(h, "bytes ")
	if !ok {
		return -1
	}
	first, _, ok := strings.Cut(rest, "-")
	n, err := strconv.ParseInt(first, 10, 64)
	if !ok || err != nil {
		return -1
	}
	return n
}

func (s *session) get(ctx context.Context, path string, h http.Header) (*http.Response, error) {
	url := s.repo.Scheme() + "://" + s.repo.RegistryStr() + "/v2/" + s.repo.RepositoryStr() + "/" + path
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	req.Header = h
	return s.client.Do(req)
}
