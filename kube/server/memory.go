package server

import (
	"context"
	"crypto/sha256"
	"errors"
	"net"
	"net/http"
	"time"

	"golang.org/x/sync/singleflight"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/utils/clock"
	"k8s.io/utils/lru"
)

const (
	// remembered is how many answers are kept, and as many weak ones.
	remembered = 8192
	// askTimeout bounds all attempts to get one answer from the API server.
	askTimeout = 10 * time.Second
)

// A memory keeps answers of the API server for a while. Requests that need the same answer at once ask once.
type memory[V any] struct {
	clock   clock.PassiveClock
	answers *lru.Cache // [sha256.Size]byte -> timed[V]
	// weak are the answers that anybody can get, as many as he likes: they must not push out the others.
	weak   *lru.Cache
	isWeak func(V) bool
	asking singleflight.Group
}

type timed[V any] struct {
	value   V
	expires time.Time
}

func newMemory[V any](c clock.PassiveClock, isWeak func(V) bool) *memory[V] {
	return &memory[V]{clock: c, answers: lru.New(remembered), weak: lru.New(remembered), isWeak: isWeak}
}

// get returns the answer for key, by ask if none is remembered. ask says for how long its answer holds; an error is not
// remembered. Only the key's hash is kept, because keys may be tokens.
func (m *memory[V]) get(ctx context.Context, key []byte, ask func(context.Context) (V, time.Duration, error)) (V, error) {
	hash := sha256.Sum256(key)
	if v, ok := m.recall(hash); ok {
		return v, nil
	}
	v, err, _ := m.asking.Do(string(hash[:]), func() (any, error) {
		if v, ok := m.recall(hash); ok { // answered between the look and here
			return v, nil
		}
		// Others wait for this answer too: it must not end with the request that happened to be first.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), askTimeout)
		defer cancel()
		v, ttl, err := ask(ctx)
		if err == nil {
			m.keep(hash, timed[V]{v, m.clock.Now().Add(ttl)})
		}
		return v, err
	})
	answer, _ := v.(V)
	return answer, err
}

// keep forgets what was known before: an answer may change its kind.
func (m *memory[V]) keep(hash [sha256.Size]byte, answer timed[V]) {
	to, other := m.answers, m.weak
	if m.isWeak(answer.value) {
		to, other = other, to
	}
	other.Remove(hash)
	to.Add(hash, answer)
}

func (m *memory[V]) recall(hash [sha256.Size]byte) (v V, ok bool) {
	got, found := m.answers.Get(hash)
	if !found {
		got, found = m.weak.Get(hash)
	}
	if !found {
		return v, false
	}
	answer, _ := got.(timed[V])
	return answer.value, m.clock.Now().Before(answer.expires)
}

// retry repeats a question that got no answer for a reason that may pass: 5 attempts from 500 ms apart, growing by
// half, as the kubelet's webhooks do.
type retry struct{ clock clock.Clock }

func (r retry) do(ctx context.Context, ask func(context.Context) error) error {
	const attempts = 5
	pause := 500 * time.Millisecond
	for n := 1; ; n++ {
		err := ask(ctx)
		if err == nil || n == attempts || !passes(err) {
			return err
		}
		t := r.clock.NewTimer(pause)
		select {
		case <-t.C():
		case <-ctx.Done():
			t.Stop()
			return errors.Join(err, ctx.Err())
		}
		pause += pause / 2
	}
}

func passes(err error) bool {
	if _, ok := errors.AsType[net.Error](err); ok {
		return true
	}
	var status apierrors.APIStatus
	return errors.As(err, &status) && (status.Status().Code >= http.StatusInternalServerError || status.Status().Code == http.StatusTooManyRequests)
}
