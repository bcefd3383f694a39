package image

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
)

// dockerConfig is the part of a docker config.json that holds credentials.
type dockerConfig struct {
	Auths       map[string]authn.AuthConfig `json:"auths"`
	CredHelpers map[string]string           `json:"credHelpers"`
	CredsStore  string                      `json:"credsStore"`
}

// credentials finds what to show a registry for a repository, as the kubelet does: keys may have a path, and "*" stands
// for one label of the host. Nothing found is anonymous access.
func credentials(ctx context.Context, file, registry, repository string) (authn.Authenticator, error) {
	if file == "" {
		return authn.Anonymous, nil
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read credentials: %w", err)
	}
	c, err := parseDockerConfig(b)
	if err != nil {
		return nil, fmt.Errorf("credentials in %s: %w", file, err)
	}
	auth, err := c.find(ctx, registry, repository)
	if err != nil {
		return nil, fmt.Errorf("credentials in %s: %w", file, err)
	}
	return auth, nil
}

func parseDockerConfig(b []byte) (dockerConfig, error) {
	var c dockerConfig
	if err := json.Unmarshal(b, &c); err != nil {
		// The error of the decoder may quote the file, which holds secrets.
		return dockerConfig{}, fmt.Errorf("not a docker config.json: %T", err)
	}
	return c, nil
}

func (c dockerConfig) find(ctx context.Context, registry, repository string) (authn.Authenticator, error) {
	best, score := "", -1
	for key := range c.Auths {
		if s := matchKey(key, registry, repository); s > score || (s == score && s >= 0 && key < best) {
			best, score = key, s
		}
	}
	if helper, server := c.helper(registry); helper != "" {
		return askHelper(ctx, helper, server)
	}
	if score < 0 {
		return authn.Anonymous, nil
	}
	a := c.Auths[best]
	if c.CredsStore != "" && a.Username == "" && a.Auth == "" && a.IdentityToken == "" && a.RegistryToken == "" {
		return askHelper(ctx, c.CredsStore, best) // docker login leaves an empty entry where a store has the secret
	}
	return authn.FromConfig(a), nil
}

func (c dockerConfig) helper(registry string) (helper, server string) {
	for key, h := range c.CredHelpers {
		if host, _ := splitKey(key); sameHost(host, registry) {
			return h, key
		}
	}
	return "", ""
}

// matchKey says how well a key of auths fits: -1 not at all, else the longer the better.
func matchKey(key, registry, repository string) int {
	host, prefix := splitKey(key)
	score := len(prefix) * 2
	switch {
	case sameHost(host, registry):
		score++
	case !globHost(host, registry):
		return -1
	}
	if prefix != "" && repository != prefix && !strings.HasPrefix(repository, prefix+"/") {
		return -1
	}
	return score
}

// splitKey reads "https://index.docker.io/v1/", "ghcr.io", "registry.example.com:5000/team".
func splitKey(key string) (host, prefix string) {
	if _, rest, ok := strings.Cut(key, "://"); ok {
		key = rest
	}
	host, prefix, _ = strings.Cut(key, "/")
	prefix = strings.Trim(prefix, "/")
	if prefix == "v1" || prefix == "v2" {
		prefix = ""
	}
	return strings.ToLower(host), prefix
}

func sameHost(a, b string) bool {
	hub := func(h string) string {
		switch h {
		case "docker.io", "registry-1.docker.io":
			return dockerHub
		}
		return h
	}
	return hub(a) == hub(strings.ToLower(b))
}

// globHost matches label by label, so that a star never spans a dot.
func globHost(pattern, host string) bool {
	if !strings.Contains(pattern, "*") {
		return false
	}
	p, h := strings.Split(pattern, "."), strings.Split(strings.ToLower(host), ".")
	if len(p) != len(h) {
		return false
	}
	for i := range p {
		if ok, err := path.Match(p[i], h[i]); err != nil || !ok {
			return false
		}
	}
	return true
}

// askHelper runs docker-credential-NAME, which answers {"Username","Secret"}.
func askHelper(ctx context.Context, name, server string) (authn.Authenticator, error) {
	if strings.ContainsAny(name, "/\\") {
		return nil, fmt.Errorf("credential helper %q: not a plain name", name)
	}
	var out, errOut bytes.Buffer
	cmd := exec.CommandContext(ctx, "docker-credential-"+name, "get")
	cmd.Stdin = strings.NewReader(server)
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		said := clip(out.String()+" "+errOut.String(), 200)
		if strings.Contains(said, "credentials not found") {
			return authn.Anonymous, nil
		}
		return nil, fmt.Errorf("run docker-credential-%s for %s: %w: %s", name, server, err, said)
	}
	var got struct{ Username, Secret string }
	if err := json.NewDecoder(io.LimitReader(&out, 1<<20)).Decode(&got); err != nil {
		return nil, fmt.Errorf("docker-credential-%s for %s: its answer is not JSON", name, server)
	}
	if got.Username == "<token>" {
		return authn.FromConfig(authn.AuthConfig{IdentityToken: got.Secret}), nil
	}
	return authn.FromConfig(authn.AuthConfig{Username: got.Username, Password: got.Secret}), nil
}
