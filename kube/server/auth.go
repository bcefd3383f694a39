package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"go.uber.org/zap"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
)

// AuthorizationMode says who decides what an authenticated client may do.
type AuthorizationMode string

// The kubelet's authorization modes.
const (
	// AuthorizationWebhook asks the API server with a SubjectAccessReview. It is the default.
	AuthorizationWebhook AuthorizationMode = "Webhook"
	// AuthorizationAlwaysAllow lets every authenticated client do everything.
	AuthorizationAlwaysAllow AuthorizationMode = "AlwaysAllow"
)

// TokenReviewer has the API server judge a bearer token; client-go's AuthenticationV1().TokenReviews() is one.
type TokenReviewer interface {
	Create(ctx context.Context, review *authenticationv1.TokenReview, o metav1.CreateOptions) (*authenticationv1.TokenReview, error)
}

// AccessReviewer has the API server judge an access; client-go's AuthorizationV1().SubjectAccessReviews() is one.
type AccessReviewer interface {
	Create(ctx context.Context, review *authorizationv1.SubjectAccessReview, o metav1.CreateOptions) (*authorizationv1.SubjectAccessReview, error)
}

// Auth says who may call the server. A client proves who it is by a certificate of TLSConfig.ClientCAs or by a token.
type Auth struct {
	// NodeName is the name that accesses are asked for: nodes/<NodeName>.
	NodeName string
	// Tokens reviews bearer tokens; nil means that none is believed.
	Tokens TokenReviewer
	// TokenTTL is how long a review's answer, good or bad, is remembered; 2 minutes when 0.
	TokenTTL time.Duration
	// Anonymous lets clients without credentials in as system:anonymous; what they may do is still asked. Off by default.
	Anonymous bool
	// Mode is AuthorizationWebhook when empty.
	Mode AuthorizationMode
	// Access is asked in mode Webhook and must then be set.
	Access AccessReviewer
	// AllowTTL and DenyTTL are how long a yes and a no are remembered; 5 minutes and 30 seconds when 0.
	AllowTTL, DenyTTL time.Duration
	// Clock is the real one when nil.
	Clock clock.Clock
}

const (
	defaultTokenTTL = 2 * time.Minute
	defaultAllowTTL = 5 * time.Minute
	defaultDenyTTL  = 30 * time.Second
)

// A gate is Auth at work.
type gate struct {
	node      string
	anonymous bool
	certs     certificates
	tokens    *tokens // nil: not believed
	access    *access // nil: everything is allowed
	log       *zap.Logger
}

// middleware checks the configuration and returns what guards the server.
func (a Auth) middleware(t TLSConfig, log *zap.Logger) (Middleware, error) {
	if a.Clock == nil {
		a.Clock = clock.RealClock{}
	}
	if log == nil {
		log = zap.NewNop()
	}
	g := &gate{node: a.NodeName, anonymous: a.Anonymous, certs: certificates{t.pool, a.Clock}, log: log}
	if t.ClientCAs == nil && a.Tokens == nil && !a.Anonymous {
		return nil, errors.New("authentication: nobody could call the server: set a client CA, token reviews or anonymous access")
	}
	if a.Tokens != nil {
		g.tokens = newTokens(a.Tokens, or(a.TokenTTL, defaultTokenTTL), a.Clock)
	}
	switch a.Mode {
	case AuthorizationAlwaysAllow:
	case AuthorizationWebhook, "":
		if a.Access == nil || a.NodeName == "" {
			return nil, errors.New("authorization: mode Webhook needs an API server to ask and the node's name")
		}
		g.access = newAccess(a.Access, or(a.AllowTTL, defaultAllowTTL), or(a.DenyTTL, defaultDenyTTL), a.Clock)
	default:
		return nil, fmt.Errorf("authorization: mode: want %s or %s, got %q", AuthorizationWebhook, AuthorizationAlwaysAllow, a.Mode)
	}
	return g.wrap, nil
}

func or(d, otherwise time.Duration) time.Duration {
	if d == 0 {
		return otherwise
	}
	return d
}

// wrap answers 401, 403 and 500 with the kubelet's texts.
func (g *gate) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, err := g.authenticate(r)
		if err != nil {
			g.log.Debug("unauthenticated request", zap.String("path", r.URL.Path), zap.String("remote", r.RemoteAddr), zap.Error(err))
			dropBody(w, r)
			answer(w, http.StatusUnauthorized, "Unauthorized")
			return
		}
		if code, text := g.authorize(r, user); code != http.StatusOK {
			dropBody(w, r)
			answer(w, code, text)
			return
		}
		// Nothing behind this point needs the token, and error texts of upgrades print the header.
		r.Header.Del("Authorization")
		next.ServeHTTP(w, r)
	})
}

// dropBody keeps the server from reading what a refused client sends: net/http would read on, to be able to use the connection
// again, for as long as ReadTimeout lets a stranger take.
func dropBody(w http.ResponseWriter, r *http.Request) {
	if r.ContentLength != 0 {
		// Where there are no deadlines, as in tests, there is nobody to wait for either.
		_ = http.NewResponseController(w).SetReadDeadline(time.Unix(1, 0))
	}
}

// answer writes text as it is: unlike http.Error's, these texts end as the kubelet's do.
func answer(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(code)
	_, _ = w.Write([]byte(text))
}

// authorize asks for each subresource that would do; the first yes is enough.
func (g *gate) authorize(r *http.Request, user authenticationv1.UserInfo) (int, string) {
	if g.access == nil {
		return http.StatusOK, ""
	}
	verb, subresources := verb(r.Method), subresources(r.URL.Path)
	for _, subresource := range subresources {
		allowed, err := g.access.allowed(r.Context(), review(user, verb, g.node, subresource))
		if err != nil {
			g.log.Error("authorize a request", zap.String("user", user.Username), zap.String("subresource", subresource), zap.Error(err))
			return http.StatusInternalServerError,
				fmt.Sprintf("Authorization error (user=%s, verb=%s, resource=nodes, subresource=%s)", user.Username, verb, subresource)
		}
		if allowed {
			return http.StatusOK, ""
		}
	}
	return http.StatusForbidden,
		fmt.Sprintf("Forbidden (user=%s, verb=%s, resource=nodes, subresource(s)=%v)\n", user.Username, verb, subresources)
}

// verb is empty for methods that the kubelet's API does not have; only who may do everything may use them.
func verb(method string) string {
	switch method {
	case http.MethodPost:
		return "create"
	case http.MethodGet:
		return "get"
	case http.MethodPut:
		return "update"
	case http.MethodPatch:
		return "patch"
	case http.MethodDelete:
		return "delete"
	default:
		return ""
	}
}

// subresources are those of nodes that allow a path, the narrow one before the one that allows everything else
// (KEP-2862, fine-grained kubelet authorization).
func subresources(path string) []string {
	first, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	if !strings.HasPrefix(path, "/") {
		first = ""
	}
	switch first {
	case "pods", "runningpods":
		return []string{"pods", "proxy"}
	case "healthz":
		return []string{"healthz", "proxy"}
	case "configz":
		return []string{"configz", "proxy"}
	case "stats", "metrics", "checkpoint", "statusz":
		return []string{first}
	case "logs":
		return []string{"log"}
	case "flagz":
		return []string{"configz"}
	default:
		return []string{"proxy"}
	}
}
