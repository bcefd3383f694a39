package config

import (
	"time"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

// What a node may allow its HTTP handlers at most.
const (
	minHandlerTimeout     = time.Millisecond
	maxHandlerTimeout     = 24 * time.Hour
	maxHandlerConcurrency = 1000
	maxHandlerBody        = 1 << 40
)

func (h HTTPHandlers) validate(path *field.Path) field.ErrorList {
	timeout, concurrency, body := path.Child("timeout"), path.Child("maxConcurrency"), path.Child("maxBodyBytes")
	var all field.ErrorList
	if m := h.Timeout.Max.Duration; m < minHandlerTimeout || m > maxHandlerTimeout {
		all = append(all, field.Invalid(timeout.Child("max"), m.String(), "must be between 1ms and 24h"))
	}
	if d := h.Timeout.Default.Duration; d < minHandlerTimeout || d > h.Timeout.Max.Duration {
		all = append(all, field.Invalid(timeout.Child("default"), d.String(), "must be between 1ms and max, which is "+h.Timeout.Max.Duration.String()))
	}
	all = append(all, between(concurrency.Child("max"), h.MaxConcurrency.Max, 1, maxHandlerConcurrency)...)
	all = append(all, between(concurrency.Child("default"), h.MaxConcurrency.Default, 1, max(1, h.MaxConcurrency.Max))...)
	if m := h.MaxBodyBytes.Max; m.Sign() < 0 || m.Value() > maxHandlerBody {
		all = append(all, field.Invalid(body.Child("max"), m.String(), "must be between 0 and 1Ti"))
	}
	if d := h.MaxBodyBytes.Default; d.Sign() < 0 || d.Cmp(h.MaxBodyBytes.Max) > 0 {
		all = append(all, field.Invalid(body.Child("default"), d.String(), "must be between 0 and max, which is "+h.MaxBodyBytes.Max.String()))
	}
	return all
}
