package server

import (
	"context"
	"encoding/json"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
)

// access asks the API server what a user may do.
type access struct {
	api         AccessReviewer
	allow, deny time.Duration
	known       *memory[bool]
	retry       retry
}

func newAccess(api AccessReviewer, allow, deny time.Duration, c clock.Clock) *access {
	return &access{api, allow, deny, newMemory(c, func(allowed bool) bool { return !allowed }), retry{c}}
}

func review(user authenticationv1.UserInfo, verb, node, subresource string) authorizationv1.SubjectAccessReviewSpec {
	extra := make(map[string]authorizationv1.ExtraValue, len(user.Extra))
	for k, v := range user.Extra {
		extra[k] = authorizationv1.ExtraValue(v)
	}
	return authorizationv1.SubjectAccessReviewSpec{
		User: user.Username, UID: user.UID, Groups: user.Groups, Extra: extra,
		ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: verb, Version: "v1", Resource: "nodes", Subresource: subresource, Name: node},
	}
}

// allowed remembers answers, not errors. "No opinion" is a no.
func (a *access) allowed(ctx context.Context, spec authorizationv1.SubjectAccessReviewSpec) (bool, error) {
	key, err := json.Marshal(spec) // maps are sorted, so equal reviews have equal keys
	if err != nil {
		return false, err
	}
	return a.known.get(ctx, key, func(ctx context.Context) (bool, time.Duration, error) {
		var answer *authorizationv1.SubjectAccessReview
		err := a.retry.do(ctx, func(ctx context.Context) (err error) {
			answer, err = a.api.Create(ctx, &authorizationv1.SubjectAccessReview{Spec: spec}, metav1.CreateOptions{})
			return err
		})
		switch {
		case err != nil:
			return false, 0, err
		case answer.Status.Allowed:
			return true, a.allow, nil
		default:
			return false, a.deny, nil
		}
	})
}
