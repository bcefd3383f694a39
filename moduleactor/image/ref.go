package image

import (
	"regexp"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
)

// dockerHub is what ggcr calls Docker Hub; everybody else, Kubernetes too, says docker.io.
const dockerHub = "index.docker.io"

// The distribution spec's grammar. ggcr is more generous, up to repositories that climb out of a URL's path.
var (
	repositoryGrammar = regexp.MustCompile(`^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$`)
	registryGrammar   = regexp.MustCompile(`^([A-Za-z0-9]+([.-]+[A-Za-z0-9]+)*|\[[0-9a-fA-F:.]+\])(:[0-9]{1,5})?$`)
)

// reference is an image reference with Kubernetes' defaults filled in.
type reference struct {
	text string         // as it was written
	ref  name.Reference // a name.Tag or a name.Digest
	tag  string         // also beside a digest; empty only for a digest alone
}

// parseReference reads a reference; an error is an *Error with InvalidImageName.
func parseReference(s string) (reference, error) {
	invalid := func(why string) error {
		return sentence(InvalidImageName, "Failed to apply default image tag %q: couldn't parse image name %q: %s", s, s, why)
	}
	switch {
	case s == "":
		return reference{}, invalid("it is empty")
	case strings.TrimSpace(s) != s:
		return reference{}, invalid("it begins or ends with white space")
	case strings.Contains(s, "://"):
		return reference{}, invalid("it has a URL scheme; write registry/repository:tag")
	}
	base, digest, hasDigest := strings.Cut(s, "@")
	tag, err := name.NewTag(base)
	if err != nil {
		return reference{}, invalid(err.Error())
	}
	if c := tag.Context(); !registryGrammar.MatchString(c.RegistryStr()) || !repositoryGrammar.MatchString(c.RepositoryStr()) {
		return reference{}, invalid("invalid reference format")
	}
	if !hasDigest {
		return reference{text: s, ref: tag, tag: tag.TagStr()}, nil
	}
	if err := checkDigest(digest); err != nil {
		return reference{}, invalid(err.Error())
	}
	d, err := name.NewDigest(tag.Context().Name() + "@" + digest)
	if err != nil {
		return reference{}, invalid(err.Error())
	}
	r := reference{text: s, ref: d}
	if strings.Contains(base[strings.LastIndex(base, "/")+1:], ":") {
		r.tag = tag.TagStr()
	}
	return r, nil
}

// key is the full reference, the name under which the store keeps it. A tag beside a digest is not part of it.
func (r reference) key() string { return spell(r.ref.Name()) }

// repository is the reference without tag and digest.
func (r reference) repository() string { return spell(r.ref.Context().Name()) }

// digest is the digest the reference demands, or empty.
func (r reference) digest() string {
	if d, ok := r.ref.(name.Digest); ok {
		return d.DigestStr()
	}
	return ""
}

// defaultPolicy is the kubelet's for a Pod that names none.
func (r reference) defaultPolicy() PullPolicy {
	if r.digest() == "" && r.tag == name.DefaultTag {
		return Always
	}
	return IfNotPresent
}

// id is the digest reference of something in the reference's repository.
func (r reference) id(digest string) string { return r.repository() + "@" + digest }

// baseName is the last part of the repository: a module's name where nothing else is known.
func (r reference) baseName() string {
	s := r.ref.Context().RepositoryStr()
	return s[strings.LastIndex(s, "/")+1:]
}

// spell writes docker.io where ggcr writes index.docker.io.
func spell(full string) string {
	if rest, ok := strings.CutPrefix(full, dockerHub+"/"); ok {
		return "docker.io/" + rest
	}
	return full
}
