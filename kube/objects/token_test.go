package objects

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/fake"
	ktesting "k8s.io/client-go/testing"
)

// The API server refuses what it has not yet heard of: a token is there as soon as it has, not at the next attempt to set
// up the volume.
func TestTokenOfNewPod(t *testing.T) {
	accounts := schema.GroupResource{Resource: "serviceaccounts"}
	unknown := apierrors.NewForbidden(accounts, "default", errors.New("no relationship found between node 'n' and this object"))
	missing := apierrors.NewNotFound(schema.GroupResource{Resource: "pods"}, "pod-1")
	for _, c := range []struct {
		name    string
		refusal error
		times   int
		wait    time.Duration
		ok      bool
		took    time.Duration
	}{
		{"known", nil, 0, time.Minute, true, 0},
		{"authorizer", unknown, 2, time.Minute, true, 6 * time.Millisecond},
		{"admission", missing, 3, time.Minute, true, 14 * time.Millisecond},
		{"refused for ever", unknown, 1000, time.Minute, false, 1022 * time.Millisecond},
		{"no time", unknown, 1000, 50 * time.Millisecond, false, 50 * time.Millisecond},
		{"another error", errors.New("connection refused"), 1, time.Minute, false, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, asked := fake.NewClientset(), 0
				client.PrependReactor("create", "serviceaccounts", func(ktesting.Action) (bool, runtime.Object, error) {
					asked++
					if asked <= c.times {
						return true, nil, c.refusal
					}
					return true, &authenticationv1.TokenRequest{Status: authenticationv1.TokenRequestStatus{Token: "t"}}, nil
				})
				s, err := New(Options{Client: client, Wait: c.wait})
				if err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				got, _, err := s.Token(t.Context(), podOf(t, "1", "{}"), corev1.ServiceAccountTokenProjection{})
				if took := time.Since(began); (err == nil) != c.ok || c.ok && got != "t" || took != c.took {
					t.Errorf("%q, %v after %s; want ok %v after %s", got, err, took, c.ok, c.took)
				}
				if !c.ok && !errors.Is(err, c.refusal) {
					t.Errorf("error %v, want %v", err, c.refusal)
				}
			})
		})
	}
}
