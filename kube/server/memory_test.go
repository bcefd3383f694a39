package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/clock"
)

func TestRetry(t *testing.T) {
	starting := apierrors.NewInternalError(errors.New("starting"))
	forbidden := apierrors.NewForbidden(schema.GroupResource{Resource: "tokenreviews"}, "", errors.New("no RBAC"))
	refused := &net.OpError{Op: "dial", Err: errors.New("connection refused")}
	for _, tc := range []struct {
		name   string
		errs   []error
		want   error
		pauses []time.Duration
	}{
		{"an answer", []error{nil}, nil, []time.Duration{0}},
		{"an answer at last", []error{starting, refused, nil}, nil, []time.Duration{0, 500 * time.Millisecond, 1250 * time.Millisecond}},
		{
			"never",
			[]error{refused, refused, refused, refused, refused, nil},
			refused,
			[]time.Duration{0, 500 * time.Millisecond, 1250 * time.Millisecond, 2375 * time.Millisecond, 4062500 * time.Microsecond},
		},
		{"what will not change", []error{forbidden, nil}, forbidden, []time.Duration{0}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begin, errs := time.Now(), slices.Clone(tc.errs)
				var asked []time.Duration
				err := retry{clock.RealClock{}}.do(t.Context(), func(context.Context) (err error) {
					asked = append(asked, time.Since(begin))
					err, errs = errs[0], errs[1:]
					return err
				})
				if !errors.Is(err, tc.want) || (err == nil) != (tc.want == nil) {
					t.Errorf("got %v, want %v", err, tc.want)
				}
				if diff := cmp.Diff(tc.pauses, asked); diff != "" {
					t.Errorf("asked at (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestRetryEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := retry{clock.RealClock{}}.do(ctx, func(context.Context) error { return &net.OpError{Op: "dial", Err: errors.New("refused")} })
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("ended with %v", err)
		}
	})
}

// TestOneQuestionForAll has the first of three requests go away while the answer is awaited.
func TestOneQuestionForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(clock.RealClock{}, func(string) bool { return false })
		first, leave := context.WithCancel(t.Context())
		asked, release, answers := 0, make(chan struct{}), make(chan string, 3)
		ask := func(ctx context.Context) (string, time.Duration, error) {
			asked++
			<-release
			return "yes", time.Minute, ctx.Err()
		}
		for _, ctx := range []context.Context{first, t.Context(), t.Context()} {
			go func() {
				v, err := m.get(ctx, []byte("k"), ask)
				if err != nil {
					v = err.Error()
				}
				answers <- v
			}()
			synctest.Wait()
		}
		leave()
		close(release)
		if got := []string{<-answers, <-answers, <-answers}; asked != 1 || !slices.Equal(got, []string{"yes", "yes", "yes"}) {
			t.Errorf("asked %d times, answered %q", asked, got)
		}
	})
}

// TestUnansweredQuestionEnds has an API server that never answers.
func TestUnansweredQuestionEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, begin := newMemory(clock.RealClock{}, func(bool) bool { return false }), time.Now()
		_, err := m.get(t.Context(), []byte("k"), func(ctx context.Context) (bool, time.Duration, error) {
			<-ctx.Done()
			return true, time.Hour, ctx.Err()
		})
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != askTimeout {
			t.Errorf("%v after %s", err, time.Since(begin))
		}
	})
}

// Whoever has no token of worth can make as many wrong ones as he likes, and nobody else has to be asked about again.
func TestWrongAnswersDoNotPushOutGoodOnes(t *testing.T) {
	m := newMemory(clock.RealClock{}, func(good bool) bool { return !good })
	ask := func(answer bool) func(context.Context) (bool, time.Duration, error) {
		return func(context.Context) (bool, time.Duration, error) { return answer, time.Hour, nil }
	}
	if _, err := m.get(t.Context(), []byte("good"), ask(true)); err != nil {
		t.Fatal(err)
	}
	for i := range 2 * remembered {
		if _, err := m.get(t.Context(), fmt.Append(nil, "wrong", i), ask(false)); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := m.get(t.Context(), []byte("good"), func(context.Context) (bool, time.Duration, error) {
		return false, 0, errors.New("asked again")
	}); err != nil || !got {
		t.Errorf("%v, %v", got, err)
	}
	if n := m.weak.Len() + m.answers.Len(); n != remembered+1 {
		t.Errorf("%d answers are kept", n)
	}
}
