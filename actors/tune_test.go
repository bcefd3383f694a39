package actors_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/yaml"

	"github.com/wazlet/wazlet/actors"
)

func validate(s actors.Supervision) []string {
	var out []string
	for _, e := range s.Validate(field.NewPath("supervision")) {
		out = append(out, e.Error())
	}
	return out
}

// The defaults are those of architecture.md §5.
func TestDefaultSupervision(t *testing.T) {
	got, err := yaml.Marshal(actors.DefaultSupervision())
	if err != nil {
		t.Fatal(err)
	}
	const want = `image:
  backoff:
    factor: 2
    initial: 10s
    max: 5m0s
module:
  backoff:
    factor: 2
    initial: 10s
    max: 5m0s
    resetAfter: 10m0s
node:
  maxResumes: 10
  window: 10m0s
pod:
  backoff:
    factor: 2
    initial: 1s
    max: 1m0s
    resetAfter: 10m0s
  maxCrashes: 5
  onExceeded: failPod
  window: 10m0s
stop:
  killWait: 2s
  treeDeadline: 30s
`
	if d := cmp.Diff(want, string(got)); d != "" {
		t.Errorf("defaults (-want +got):\n%s", d)
	}
	if errs := validate(actors.DefaultSupervision()); errs != nil {
		t.Errorf("the defaults are not valid: %v", errs)
	}
}

func TestValidateSupervision(t *testing.T) {
	for _, c := range []struct {
		name, yaml string
		want       []string
	}{
		{"shortest max", "module: {backoff: {initial: 1s, max: 1s}}", nil},
		{"longest max", "image: {backoff: {max: 5m}}", nil},
		{"max below", "module: {backoff: {initial: 1ms, max: 999ms}}", []string{
			`supervision.module.backoff.max: Invalid value: "999ms": must be from 1s to 5m`,
		}},
		{"max above, initial none", "image: {backoff: {initial: 0s, max: 301s}}", []string{
			`supervision.image.backoff.max: Invalid value: "5m1s": must be from 1s to 5m`,
			`supervision.image.backoff.initial: Invalid value: "0s": must be from 1ms to max`,
		}},
		{"initial above max", "pod: {backoff: {initial: 61s}}", []string{
			`supervision.pod.backoff.initial: Invalid value: "1m1s": must be from 1ms to max, which is 1m0s`,
		}},
		{"initial negative", "module: {backoff: {initial: -1s}}", []string{
			`supervision.module.backoff.initial: Invalid value: "-1s": must be from 1ms to max, which is 5m0s`,
		}},
		{"factor below", "module: {backoff: {factor: 0.99}}", []string{
			`supervision.module.backoff.factor: Invalid value: 0.99: must be from 1 to 1000`,
		}},
		{"factor above", "module: {backoff: {factor: 1001}}", []string{
			`supervision.module.backoff.factor: Invalid value: 1001: must be from 1 to 1000`,
		}},
		{"reset negative", "module: {backoff: {resetAfter: -10m}}", []string{
			`supervision.module.backoff.resetAfter: Invalid value: "-10m0s": must not be negative`,
		}},
		{"crashes", "pod: {maxCrashes: 0, window: 0s, onExceeded: explode}", []string{
			`supervision.pod.maxCrashes: Invalid value: 0: must be at least 1`,
			`supervision.pod.window: Invalid value: "0s": must be longer than 0s`,
			`supervision.pod.onExceeded: Unsupported value: "explode": supported values: "failPod", "exitNode"`,
		}},
		{"node and stop", "{node: {maxResumes: -1, window: -1s}, stop: {killWait: 0s, treeDeadline: -1s}}", []string{
			`supervision.node.maxResumes: Invalid value: -1: must be at least 1`,
			`supervision.node.window: Invalid value: "-1s": must be longer than 0s`,
			`supervision.stop.killWait: Invalid value: "0s": must be longer than 0s`,
			`supervision.stop.treeDeadline: Invalid value: "-1s": must be longer than 0s`,
		}},
		{"good override", "overrides: [{namespace: batch, module: {backoff: {initial: 1s, max: 30s}}}]", nil},
		{"override of nothing in no namespace", "overrides: [{namespace: A_B}]", []string{
			`supervision.overrides[0].namespace: Invalid value: "A_B": a lowercase RFC 1123 label must consist of lower case ` +
				`alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or ` +
				`'123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')`,
			`supervision.overrides[0]: Required value: must override module or image`,
		}},
		{"override that is wrong only with what it inherits", "overrides: [{image: {backoff: {max: 5s}}}]", []string{
			`supervision.overrides[0].image.backoff.initial: Invalid value: "10s": must be from 1ms to max, which is 5s`,
		}},
		{
			"override with a bad selector",
			"overrides: [{selector: {matchExpressions: [{key: a, operator: Like}]}, image: {backoff: {max: 1m}}}]",
			[]string{
				`supervision.overrides[0].selector.matchExpressions[0].operator: Invalid value: "Like": not a valid selector operator`,
			},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := actors.DefaultSupervision()
			if err := yaml.UnmarshalStrict([]byte(c.yaml), &s); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(c.want, validate(s)); d != "" {
				t.Errorf("problems (-want +got):\n%s", d)
			}
		})
	}
}

func TestSupervisionFor(t *testing.T) {
	s := actors.DefaultSupervision()
	const overrides = `
overrides:
- {namespace: batch, selector: {matchLabels: {tier: slow}}, module: {backoff: {initial: 2s, max: 20s, factor: 3, resetAfter: 1m}}}
- {namespace: batch, module: {backoff: {initial: 1s}}, image: {backoff: {max: 30s}}}
- {selector: {matchExpressions: [{key: tier, operator: Like}]}, module: {backoff: {initial: 3s}}}
- {selector: {matchExpressions: [{key: tier, operator: Exists}]}, module: {backoff: {initial: 4s}}}
`
	if err := yaml.UnmarshalStrict([]byte(overrides), &s); err != nil {
		t.Fatal(err)
	}
	def := actors.DefaultSupervision()
	sec := func(n int) metav1.Duration { return metav1.Duration{Duration: time.Duration(n) * time.Second} }
	for _, c := range []struct {
		name, namespace string
		labels          map[string]string
		want            func(*actors.Supervision)
	}{
		{"nothing selects it", "default", nil, func(*actors.Supervision) {}},
		{"the first match wins", "batch", map[string]string{"tier": "slow"}, func(s *actors.Supervision) {
			s.Module.Backoff = actors.BackoffConfig{Initial: sec(2), Max: sec(20), Factor: 3, ResetAfter: sec(60)}
		}},
		{"the rest is inherited", "batch", nil, func(s *actors.Supervision) {
			s.Module.Backoff.Initial, s.Image.Backoff.Max = sec(1), sec(30)
		}},
		{"a selector in every namespace", "other", map[string]string{"tier": "x"}, func(s *actors.Supervision) {
			s.Module.Backoff.Initial = sec(4)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			want := def
			c.want(&want)
			if d := cmp.Diff(want, s.For(c.namespace, c.labels)); d != "" {
				t.Errorf("supervision (-want +got):\n%s", d)
			}
		})
	}
	if len(s.Overrides) != 4 {
		t.Error("For changed the supervision that it was called on")
	}
}
