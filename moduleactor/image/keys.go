package image

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
)

// PullSecret is a Kubernetes Secret that holds credentials for registries.
type PullSecret struct {
	UID, Namespace, Name string
	Type                 string
	Data                 map[string][]byte
}

// The types of Secrets that hold credentials, each with the key of its data. Others hold none.
const (
	secretDockerConfigJSON = "kubernetes.io/dockerconfigjson" //nolint:gosec // no credential
	secretDockercfg        = "kubernetes.io/dockercfg"        //nolint:gosec // no credential
	keyDockerConfigJSON    = ".dockerconfigjson"
	keyDockercfg           = ".dockercfg"
)

// Keys are the credentials that a Pod brings along. They show nothing of themselves when they are printed or encoded, however
// deep in another value: hence the pointer. The zero value is a Pod without any.
type Keys struct{ set *keySet }

type keySet struct {
	keys []key
	err  error // of the first Secret that cannot be read
}

// key is one entry of a Secret.
type key struct {
	pattern string // as in docker's auths: host, with a path if it is not for all of it
	auth    authn.AuthConfig
	grant   grant
}

// grant says by which credentials an image came here. Whoever has the same, or the same Secret, may use the image.
type grant struct {
	UID       string `json:"uid"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Hash      string `json:"hash"`
}

func (g grant) covers(o grant) bool {
	return g.Hash == o.Hash || (g.UID == o.UID && g.Namespace == o.Namespace && g.Name == o.Name)
}

// NewKeys reads Secrets, of which the first ones are tried first. One that cannot be read makes every pull with the keys
// fail, as it does with the kubelet.
func NewKeys(secrets []PullSecret) Keys {
	if len(secrets) == 0 {
		return Keys{}
	}
	k := &keySet{}
	for _, s := range secrets {
		auths, err := s.auths()
		if err != nil {
			k.err = cmp.Or(k.err, fmt.Errorf("image pull secret %s/%s: %w", s.Namespace, s.Name, err))
			continue
		}
		for _, pattern := range slices.Sorted(maps.Keys(auths)) {
			a := auths[pattern]
			k.keys = append(k.keys, key{pattern: pattern, auth: a, grant: grant{
				UID: s.UID, Namespace: s.Namespace, Name: s.Name, Hash: hashOf(a),
			}})
		}
	}
	return Keys{k}
}

func (s PullSecret) auths() (map[string]authn.AuthConfig, error) {
	switch s.Type {
	case secretDockerConfigJSON:
		if b := s.Data[keyDockerConfigJSON]; len(b) > 0 {
			// Helpers are programs of the node, which a Secret must not be able to run.
			c, err := parseDockerConfig(b)
			return c.Auths, err
		}
	case secretDockercfg:
		if b := s.Data[keyDockercfg]; len(b) > 0 {
			var auths map[string]authn.AuthConfig
			if err := json.Unmarshal(b, &auths); err != nil {
				return nil, fmt.Errorf("not a .dockercfg: %T", err) // the decoder's text may quote secrets
			}
			return auths, nil
		}
	}
	return nil, nil
}

func hashOf(a authn.AuthConfig) string {
	h := sha256.New()
	for _, s := range []string{a.Username, a.Password, a.IdentityToken, a.RegistryToken} {
		fmt.Fprintf(h, "%d:%s", len(s), s)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// matching are the keys for a repository, the closest first.
func (k Keys) matching(repo name.Repository) []key {
	type match struct {
		key
		score int
	}
	var found []match
	for _, c := range k.all() {
		if score := matchKey(c.pattern, repo.RegistryStr(), repo.RepositoryStr()); score >= 0 {
			found = append(found, match{c, score})
		}
	}
	slices.SortStableFunc(found, func(a, b match) int { return cmp.Compare(b.score, a.score) })
	var out []key
	for _, m := range found {
		out = append(out, m.key)
	}
	return out
}

// fingerprint tells apart keys that may get different answers from a registry.
func (k Keys) fingerprint() string {
	if len(k.all()) == 0 {
		return ""
	}
	h := sha256.New()
	for _, c := range k.all() {
		fmt.Fprintf(h, "%q %+v\n", c.pattern, c.grant)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Len is how many entries there are.
func (k Keys) Len() int { return len(k.all()) }

func (k Keys) all() []key {
	if k.set == nil {
		return nil
	}
	return k.set.keys
}

// problem is why the keys cannot be used.
func (k Keys) problem() error {
	if k.set == nil {
		return nil
	}
	return k.set.err
}

// Equal compares without telling anything.
func (k Keys) Equal(o Keys) bool {
	return k.fingerprint() == o.fingerprint() && (k.problem() == nil) == (o.problem() == nil)
}

// String, GoString and MarshalJSON keep credentials out of logs, checkpoints and bundles.
func (k Keys) String() string { return "[hidden]" }

// GoString is for %#v.
func (k Keys) GoString() string { return "image.Keys[hidden]" }

// MarshalJSON encodes nothing.
func (k Keys) MarshalJSON() ([]byte, error) { return []byte(`"[hidden]"`), nil }
