package server

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
)

// The API server's names of what every client is, and of where its certificate's hash is told.
const (
	groupAuthenticated   = "system:authenticated"
	groupUnauthenticated = "system:unauthenticated"
	userAnonymous        = "system:anonymous"
	extraCredentialID    = "authentication.kubernetes.io/credential-id"
)

var errNoCredentials = errors.New("no credentials") //nolint:gochecknoglobals // a sentinel

// authenticate tries the client's certificate, then its token. Who has neither may be anonymous; who has a wrong one
// may not.
func (g *gate) authenticate(r *http.Request) (authenticationv1.UserInfo, error) {
	user, certErr := g.certs.authenticate(r)
	if certErr == nil {
		return authenticated(user), nil
	}
	user, tokenErr := g.tokens.authenticate(r)
	if tokenErr == nil {
		return authenticated(user), nil
	}
	if g.anonymous && errors.Is(certErr, errNoCredentials) && errors.Is(tokenErr, errNoCredentials) {
		return authenticationv1.UserInfo{Username: userAnonymous, Groups: []string{groupUnauthenticated}}, nil
	}
	return authenticationv1.UserInfo{}, errors.Join(certErr, tokenErr)
}

// authenticated adds the group of everybody that authenticated, as the API server does.
func authenticated(user authenticationv1.UserInfo) authenticationv1.UserInfo {
	if user.Username == userAnonymous || slices.Contains(user.Groups, groupAuthenticated) || slices.Contains(user.Groups, groupUnauthenticated) {
		return user
	}
	user.Groups = append(slices.Clone(user.Groups), groupAuthenticated)
	return user
}

// certificates authenticates by client certificate.
type certificates struct {
	pool  func() *x509.CertPool
	clock clock.PassiveClock
}

func (c certificates) authenticate(r *http.Request) (authenticationv1.UserInfo, error) {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return authenticationv1.UserInfo{}, errNoCredentials
	}
	roots := c.pool()
	if roots == nil { // an empty Roots would mean the authorities of the system
		return authenticationv1.UserInfo{}, errNoCredentials
	}
	leaf, rest := r.TLS.PeerCertificates[0], r.TLS.PeerCertificates[1:]
	intermediates := x509.NewCertPool()
	for _, cert := range rest {
		intermediates.AddCert(cert)
	}
	_, err := leaf.Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: intermediates, CurrentTime: c.clock.Now(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return authenticationv1.UserInfo{}, fmt.Errorf("verify the certificate of %q: %w", leaf.Subject.CommonName, err)
	}
	if leaf.Subject.CommonName == "" {
		return authenticationv1.UserInfo{}, errors.New("the client's certificate has no common name")
	}
	hash := sha256.Sum256(leaf.Raw)
	return authenticationv1.UserInfo{
		Username: leaf.Subject.CommonName,
		Groups:   leaf.Subject.Organization,
		Extra:    map[string]authenticationv1.ExtraValue{extraCredentialID: {"X509SHA256=" + hex.EncodeToString(hash[:])}},
	}, nil
}

// maxToken is longer than any token that an API server issues. The API server is not asked about longer ones: whoever has
// none could have it read megabytes.
const maxToken = 16 << 10

// tokens authenticates by bearer token; a nil *tokens believes none.
type tokens struct {
	api   TokenReviewer
	ttl   time.Duration
	known *memory[authenticationv1.TokenReviewStatus]
	retry retry
}

func newTokens(api TokenReviewer, ttl time.Duration, c clock.Clock) *tokens {
	wrong := func(s authenticationv1.TokenReviewStatus) bool { return !s.Authenticated }
	return &tokens{api, ttl, newMemory(c, wrong), retry{c}}
}

func (t *tokens) authenticate(r *http.Request) (authenticationv1.UserInfo, error) {
	token := bearer(r.Header.Get("Authorization"))
	if t == nil || token == "" {
		return authenticationv1.UserInfo{}, errNoCredentials
	}
	if len(token) > maxToken {
		return authenticationv1.UserInfo{}, fmt.Errorf("invalid bearer token: %d bytes are too many", len(token))
	}
	status, err := t.known.get(r.Context(), []byte(token), func(ctx context.Context) (authenticationv1.TokenReviewStatus, time.Duration, error) {
		status, err := t.review(ctx, token)
		return status, t.ttl, err
	})
	switch {
	case err != nil:
		return authenticationv1.UserInfo{}, fmt.Errorf("review the token: %w", err)
	case !status.Authenticated && status.Error != "":
		return authenticationv1.UserInfo{}, errors.New("invalid bearer token: " + status.Error)
	case !status.Authenticated:
		return authenticationv1.UserInfo{}, errors.New("invalid bearer token")
	}
	return status.User, nil
}

func (t *tokens) review(ctx context.Context, token string) (authenticationv1.TokenReviewStatus, error) {
	var answer *authenticationv1.TokenReview
	err := t.retry.do(ctx, func(ctx context.Context) (err error) {
		answer, err = t.api.Create(ctx, &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token}}, metav1.CreateOptions{})
		return err
	})
	if err != nil {
		return authenticationv1.TokenReviewStatus{}, err
	}
	return answer.Status, nil
}

// bearer returns the token of an Authorization header, "" when there is none.
func bearer(header string) string {
	scheme, rest, _ := strings.Cut(strings.TrimSpace(header), " ")
	if !strings.EqualFold(scheme, "bearer") {
		return ""
	}
	token, _, _ := strings.Cut(rest, " ")
	return token
}
