package actors

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Bounds of a delay. The upper one is Kubernetes' own; the lower one keeps a module that fails at once from taking a
// whole CPU.
const (
	minInitial = time.Millisecond
	minMax     = time.Second
	maxMax     = 5 * time.Minute
)

// DefaultSupervision is what holds for whatever the configuration does not say: Kubernetes' numbers where it has some.
func DefaultSupervision() Supervision {
	kubernetes := backoff(10*time.Second, 5*time.Minute, 10*time.Minute)
	return Supervision{
		Module: ModuleSupervision{Backoff: kubernetes},
		Image:  ImageSupervision{Backoff: backoff(10*time.Second, 5*time.Minute, 0)},
		Pod: PodSupervision{
			MaxCrashes: 5, Window: duration(10 * time.Minute), OnExceeded: FailPod,
			Backoff: backoff(time.Second, time.Minute, 10*time.Minute),
		},
		Node: NodeSupervision{MaxResumes: 10, Window: duration(10 * time.Minute)},
		Stop: StopSupervision{KillWait: duration(2 * time.Second), TreeDeadline: duration(30 * time.Second)},
	}
}

func backoff(initial, limit, reset time.Duration) BackoffConfig {
	return BackoffConfig{Initial: duration(initial), Max: duration(limit), Factor: 2, ResetAfter: duration(reset)}
}

func duration(d time.Duration) metav1.Duration { return metav1.Duration{Duration: d} }

// Backoff is c without its file format.
func (c BackoffConfig) Backoff() Backoff {
	return Backoff{
		Initial: c.Initial.Duration, Max: c.Max.Duration, Factor: c.Factor, ResetAfter: c.ResetAfter.Duration,
	}
}

// over fills what c does not say from base.
func (c BackoffConfig) over(base BackoffConfig) BackoffConfig {
	if c.Initial.Duration == 0 {
		c.Initial = base.Initial
	}
	if c.Max.Duration == 0 {
		c.Max = base.Max
	}
	if c.Factor == 0 {
		c.Factor = base.Factor
	}
	if c.ResetAfter.Duration == 0 {
		c.ResetAfter = base.ResetAfter
	}
	return c
}

// For returns the supervision of the Pods with the given namespace and labels: the first override that selects them is
// merged over s. What an override does not say stays as it is in s. The result has no overrides.
func (s Supervision) For(namespace string, lbls map[string]string) Supervision {
	overrides := s.Overrides
	s.Overrides = nil
	for _, o := range overrides {
		if o.selects(namespace, lbls) {
			return o.over(s)
		}
	}
	return s
}

// selects is false for a selector that is not valid, which Validate reports.
func (o SupervisionOverride) selects(namespace string, lbls map[string]string) bool {
	if o.Namespace != "" && o.Namespace != namespace {
		return false
	}
	if o.Selector == nil {
		return true
	}
	selector, err := metav1.LabelSelectorAsSelector(o.Selector)
	return err == nil && selector.Matches(labels.Set(lbls))
}

func (o SupervisionOverride) over(s Supervision) Supervision {
	if o.Module != nil {
		s.Module.Backoff = o.Module.Backoff.over(s.Module.Backoff)
	}
	if o.Image != nil {
		s.Image.Backoff = o.Image.Backoff.over(s.Image.Backoff)
	}
	return s
}

// Validate reports everything that is wrong with s. The errors' BadValue is what was found, the Detail what is allowed.
func (s Supervision) Validate(path *field.Path) field.ErrorList {
	var errs field.ErrorList
	errs = append(errs, s.Module.Backoff.validate(path.Child("module", "backoff"))...)
	errs = append(errs, s.Image.Backoff.validate(path.Child("image", "backoff"))...)
	errs = append(errs, s.Pod.validate(path.Child("pod"))...)
	errs = append(errs, atLeastOne(path.Child("node", "maxResumes"), s.Node.MaxResumes)...)
	errs = append(errs, positive(path.Child("node", "window"), s.Node.Window)...)
	errs = append(errs, positive(path.Child("stop", "killWait"), s.Stop.KillWait)...)
	errs = append(errs, positive(path.Child("stop", "treeDeadline"), s.Stop.TreeDeadline)...)
	for i, o := range s.Overrides {
		errs = append(errs, o.validate(path.Child("overrides").Index(i), s)...)
	}
	return errs
}

func (c BackoffConfig) validate(path *field.Path) field.ErrorList {
	var errs field.ErrorList
	invalid := func(name string, value any, allowed string) {
		errs = append(errs, field.Invalid(path.Child(name), value, allowed))
	}
	initial, limit := c.Initial.Duration, c.Max.Duration
	switch {
	case limit < minMax || limit > maxMax:
		invalid("max", limit.String(), "must be from 1s to 5m")
		if initial < minInitial {
			invalid("initial", initial.String(), "must be from 1ms to max")
		}
	case initial < minInitial || initial > limit:
		invalid("initial", initial.String(), "must be from 1ms to max, which is "+limit.String())
	}
	if !(c.Factor >= 1) || c.Factor > maxFactor { // negated: NaN compares false
		invalid("factor", c.Factor, "must be from 1 to 1000")
	}
	if c.ResetAfter.Duration < 0 {
		invalid("resetAfter", c.ResetAfter.Duration.String(), "must not be negative")
	}
	return errs
}

// maxFactor is far beyond sense and within float64.
const maxFactor = 1000

func (p PodSupervision) validate(path *field.Path) field.ErrorList {
	errs := atLeastOne(path.Child("maxCrashes"), p.MaxCrashes)
	errs = append(errs, positive(path.Child("window"), p.Window)...)
	switch p.OnExceeded {
	case FailPod, ExitNode:
	default:
		errs = append(errs, field.NotSupported(path.Child("onExceeded"), p.OnExceeded, []OnExceeded{FailPod, ExitNode}))
	}
	return append(errs, p.Backoff.validate(path.Child("backoff"))...)
}

// validate checks what o makes of s, because an override may be wrong only together with what it inherits.
func (o SupervisionOverride) validate(path *field.Path, s Supervision) field.ErrorList {
	var errs field.ErrorList
	if o.Namespace != "" {
		for _, problem := range validation.IsDNS1123Label(o.Namespace) {
			errs = append(errs, field.Invalid(path.Child("namespace"), o.Namespace, problem))
		}
	}
	if o.Selector != nil {
		errs = append(errs, metav1validation.ValidateLabelSelector(o.Selector,
			metav1validation.LabelSelectorValidationOptions{}, path.Child("selector"))...)
	}
	if o.Module == nil && o.Image == nil {
		errs = append(errs, field.Required(path, "must override module or image"))
	}
	merged := o.over(s)
	if o.Module != nil {
		errs = append(errs, merged.Module.Backoff.validate(path.Child("module", "backoff"))...)
	}
	if o.Image != nil {
		errs = append(errs, merged.Image.Backoff.validate(path.Child("image", "backoff"))...)
	}
	return errs
}

func positive(path *field.Path, d metav1.Duration) field.ErrorList {
	if d.Duration > 0 {
		return nil
	}
	return field.ErrorList{field.Invalid(path, d.Duration.String(), "must be longer than 0s")}
}

func atLeastOne(path *field.Path, n int) field.ErrorList {
	if n >= 1 {
		return nil
	}
	return field.ErrorList{field.Invalid(path, n, "must be at least 1")}
}
