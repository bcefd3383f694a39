package objects

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

const (
	// maxTokenAge is when a token is renewed however long it is good for, tokenJitter by how much sooner at most, as with
	// the kubelet.
	maxTokenAge = 24 * time.Hour
	tokenJitter = 10 * time.Second
	// tokenRetry is when a token that could not be renewed is tried again, while the old one is good.
	tokenRetry = 30 * time.Second
	// lagPause is the first pause before a refused token is asked for again, which doubles until it is lagPauseMax.
	lagPause, lagPauseMax = 2 * time.Millisecond, 640 * time.Millisecond
	// defaultTokenSeconds is the API server's default.
	defaultTokenSeconds = 3600
	// defaultServiceAccount is that of a Pod that names none.
	defaultServiceAccount = "default"
)

// tokens are kept per Pod and projection, so that a volume that is made anew for another reason costs no request.
type tokens struct {
	mu     sync.Mutex
	cached map[tokenKey]token
}

type tokenKey struct {
	pod      types.UID
	account  string
	audience string
	seconds  int64
}

type token struct {
	text               string
	refreshAt, expires time.Time
}

func (t *tokens) get(k tokenKey) (token, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	got, ok := t.cached[k]
	return got, ok
}

// put also drops what has expired: the token of a Pod that was forgotten while it was being requested, in particular.
func (t *tokens) put(k tokenKey, v token, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	maps.DeleteFunc(t.cached, func(_ tokenKey, old token) bool { return !now.Before(old.expires) })
	t.cached[k] = v
}

func (t *tokens) forget(pod types.UID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	maps.DeleteFunc(t.cached, func(k tokenKey, _ token) bool { return k.pod == pod })
}

// Token returns a token of the Pod's ServiceAccount that is bound to the Pod, and when to ask for the next one: at four
// fifths of its life, or after a day. If the API server cannot be asked then, the old one serves until it expires.
func (s *Objects) Token(
	ctx context.Context, pod *corev1.Pod, p corev1.ServiceAccountTokenProjection,
) (text string, refreshAt time.Time, err error) {
	seconds := int64(defaultTokenSeconds)
	if p.ExpirationSeconds != nil {
		seconds = *p.ExpirationSeconds
	}
	account := cmp.Or(pod.Spec.ServiceAccountName, defaultServiceAccount)
	k := tokenKey{pod.UID, account, p.Audience, seconds}
	now := s.o.Clock.Now()
	old, had := s.tokens.get(k)
	if had && now.Before(old.refreshAt) {
		return old.text, old.refreshAt, nil
	}
	fresh, err := s.requestToken(ctx, pod, k)
	switch {
	case err == nil:
		s.tokens.put(k, fresh, now)
		return fresh.text, fresh.refreshAt, nil
	case had && now.Before(old.expires):
		return old.text, now.Add(tokenRetry), nil
	case had:
		return "", time.Time{}, fmt.Errorf("token of serviceaccount %s/%s expired and refresh failed: %w", pod.Namespace, account, err)
	}
	return "", time.Time{}, fmt.Errorf("failed to fetch token: %w", err)
}

func (s *Objects) requestToken(ctx context.Context, pod *corev1.Pod, k tokenKey) (token, error) {
	ctx, cancel := context.WithTimeout(ctx, s.o.Wait)
	defer cancel()
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		ExpirationSeconds: &k.seconds,
		BoundObjectRef:    &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID},
	}}
	if k.audience != "" {
		request.Spec.Audiences = []string{k.audience}
	}
	got, err := s.createToken(ctx, pod.Namespace, k.account, request)
	if err != nil {
		return token{}, err
	}
	life := time.Duration(k.seconds) * time.Second
	if got.Spec.ExpirationSeconds != nil { // the API server may grant another one
		life = time.Duration(*got.Spec.ExpirationSeconds) * time.Second
	}
	expires := got.Status.ExpirationTimestamp.Time
	refreshAt := expires.Add(-life / 5)
	if day := expires.Add(-life).Add(maxTokenAge); day.Before(refreshAt) {
		refreshAt = day
	}
	return token{text: got.Status.Token, refreshAt: refreshAt.Add(-s.o.Jitter(tokenJitter)), expires: expires}, nil
}

// createToken asks for a token, and again for about a second while it is refused: the authorizer and the admission of the
// API server learn of a Pod from watches of their own, often later than its node does.
func (s *Objects) createToken(
	ctx context.Context, namespace, account string, request *authenticationv1.TokenRequest,
) (*authenticationv1.TokenRequest, error) {
	for pause := lagPause; ; pause *= 2 {
		got, err := s.o.Client.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, account, request, metav1.CreateOptions{})
		if !apierrors.IsForbidden(err) && !apierrors.IsNotFound(err) || pause > lagPauseMax {
			return got, err
		}
		timer := s.o.Clock.NewTimer(pause)
		select {
		case <-timer.C():
		case <-ctx.Done():
			timer.Stop()
			return nil, err // says more than that there is no time left
		}
	}
}

func randomBelow(d time.Duration) time.Duration {
	return rand.N(d) //nolint:gosec // spreads load, keeps no secret
}
