package server

import (
	"fmt"
	"net/url"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// LogOptions say which part of a log is wanted and how: the fields of corev1.PodLogOptions that concern a node. A nil
// pointer means no limit. At most one of SinceSeconds and SinceTime is set.
type LogOptions struct {
	// Follow goes on with the next lines until the container has ended.
	Follow bool
	// Previous wants the attempt before the current one.
	Previous bool
	// Timestamps puts the time in RFC 3339 with nanoseconds and a space before each line.
	Timestamps bool
	// TailLines is how many of the last lines to begin with; 0 or more.
	TailLines *int64
	// LimitBytes ends the answer after so many bytes, in the middle of a line if need be; 1 or more.
	LimitBytes *int64
	// SinceSeconds leaves out what is older; 1 or more.
	SinceSeconds *int64
	// SinceTime leaves out what is older.
	SinceTime *time.Time
}

// decodeLogOptions reads the query as the kubelet does: of a repeated parameter the first counts, unknown parameters are
// ignored, a boolean is true unless it is 0 or false, and tail is an older name of tailLines that also takes "all".
func decodeLogOptions(query url.Values) (LogOptions, error) {
	switch tail := query.Get("tail"); tail {
	case "":
	case "all":
		query.Del("tailLines")
	default:
		query.Set("tailLines", tail)
	}
	var o LogOptions
	for name, to := range map[string]*bool{"follow": &o.Follow, "previous": &o.Previous, "timestamps": &o.Timestamps} {
		values := query[name]
		if err := runtime.Convert_Slice_string_To_bool(&values, to, nil); err != nil {
			return LogOptions{}, fmt.Errorf("%s: %w", name, err)
		}
	}
	var err error
	for _, n := range []struct {
		name string
		to   **int64
	}{{"tailLines", &o.TailLines}, {"limitBytes", &o.LimitBytes}, {"sinceSeconds", &o.SinceSeconds}} {
		if *n.to, err = integer(query, n.name); err != nil {
			return LogOptions{}, err
		}
	}
	if o.SinceTime, err = instant(query, "sinceTime"); err != nil {
		return LogOptions{}, err
	}
	return o, nil
}

func integer(query url.Values, name string) (*int64, error) {
	if !query.Has(name) {
		return nil, nil // absent
	}
	n, err := strconv.ParseInt(query.Get(name), 10, 64)
	if err != nil {
		return nil, fmt.Errorf("%s: want a decimal number, got %q", name, query.Get(name))
	}
	return &n, nil
}

func instant(query url.Values, name string) (*time.Time, error) {
	if !query.Has(name) {
		return nil, nil // absent
	}
	var t metav1.Time
	if err := t.UnmarshalQueryParameter(query.Get(name)); err != nil {
		return nil, fmt.Errorf("%s: want a time like 2006-01-02T15:04:05Z, got %q", name, query.Get(name))
	}
	// The kubelet's decoder lets an empty value and null through as the zero time, which leaves nothing out.
	if t.IsZero() {
		return nil, nil
	}
	return &t.Time, nil
}

// validate has the rules and the words of the API server's ValidatePodLogOptions.
func (o LogOptions) validate(stream string) field.ErrorList {
	var errs field.ErrorList
	if o.TailLines != nil && *o.TailLines < 0 {
		errs = append(errs, field.Invalid(field.NewPath("tailLines"), *o.TailLines, "must be greater than or equal to 0"))
	}
	if o.LimitBytes != nil && *o.LimitBytes < 1 {
		errs = append(errs, field.Invalid(field.NewPath("limitBytes"), *o.LimitBytes, "must be greater than 0"))
	}
	switch {
	case o.SinceSeconds != nil && o.SinceTime != nil:
		errs = append(errs, field.Forbidden(field.NewPath("sinceTime"), "at most one of `sinceTime` or `sinceSeconds` may be specified"))
	case o.SinceSeconds != nil && *o.SinceSeconds < 1:
		errs = append(errs, field.Invalid(field.NewPath("sinceSeconds"), *o.SinceSeconds, "must be greater than 0"))
	}
	switch stream {
	case "", corev1.LogStreamAll:
	case corev1.LogStreamStdout, corev1.LogStreamStderr:
		if o.TailLines != nil {
			errs = append(errs, field.Forbidden(field.NewPath("stream"), "`tailLines` and specific `stream` are mutually exclusive for now"))
		}
	default:
		errs = append(errs, field.NotSupported(field.NewPath("stream"), stream,
			[]string{corev1.LogStreamAll, corev1.LogStreamStderr, corev1.LogStreamStdout}))
	}
	return errs
}
