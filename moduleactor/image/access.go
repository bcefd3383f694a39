package image

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// annotationAccess holds the grants of an image that was pulled with the credentials of Pods; without it everybody may use
// the image, because a registry gave it to anybody or to the node itself, or because it was put here by hand.
const annotationAccess = "dev.wazlet.image.access"

// maxGrants bounds what is remembered for one reference; the oldest are forgotten, whose Pods ask the registry once more.
const maxGrants = 100

// access is who may use what a reference stands for. Nil: everybody.
type access []grant

func parseAccess(text string) (access, error) {
	if text == "" {
		return nil, nil
	}
	var a access
	if err := json.Unmarshal([]byte(text), &a); err != nil {
		return nil, fmt.Errorf("%s: %w", annotationAccess, err)
	}
	if a == nil {
		a = access{} // it says that there are grants: then nobody has one
	}
	return a, nil
}

func (a access) encode() (string, error) {
	b, err := json.Marshal(a)
	return string(b), err
}

// permits tells whether one of the keys is the one that the image came with.
func (a access) permits(keys []key) bool {
	return a == nil || slices.ContainsFunc(keys, func(k key) bool {
		return slices.ContainsFunc([]grant(a), k.grant.covers)
	})
}

// with adds a grant; nil stands for everybody.
func (a access) with(g *grant) access {
	if a == nil || g == nil {
		return nil
	}
	out := append(slices.DeleteFunc(slices.Clone(a), func(o grant) bool { return o == *g }), *g)
	return out[max(0, len(out)-maxGrants):]
}

// keysFor are those of the keys that count for a reference, whatever mirror it may come from.
func (s *Store) keysFor(r reference, keys Keys) ([]key, error) {
	sources, err := s.remote.sources(r)
	if err != nil {
		return nil, err
	}
	var out []key
	for _, repo := range sources {
		out = append(out, keys.matching(repo)...)
	}
	return out, nil
}

// door is one way to be let in by a registry; key is nil if it is the node's own.
type door struct {
	key  *key
	open func() (*session, error)
}

// grant is what to remember of a pull that went through the door.
func (d door) grant() *grant {
	if d.key == nil {
		return nil
	}
	return &d.key.grant
}

// denied tells whether other credentials might be let in. Many registries say "not found" to those who may not know.
func denied(err error) bool {
	answer, ok := errors.AsType[*transport.Error](err)
	return ok && slices.Contains([]int{http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound}, answer.StatusCode)
}
