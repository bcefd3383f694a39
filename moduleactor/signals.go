package moduleactor

import (
	"fmt"

	"github.com/wazlet/wazlet/moduleactor/image"
)

// What Pods and images may say of signals: the guest gets a descriptor that yields SIGTERM and SIGHUP, and the whole grace
// period to act on them; or SIGTERM ends it.
const (
	SignalsFD   = "fd"
	SignalsNone = "none"
)

// CheckSignals judges what a Pod or an image says.
func CheckSignals(value string) error {
	if value != SignalsFD && value != SignalsNone {
		return fmt.Errorf("want %s or %s (got %q)", SignalsFD, SignalsNone, value)
	}
	return nil
}

// wantsSignals asks the Pod, and then the image.
func wantsSignals(s Spec, img image.Image) (bool, error) {
	if s.Signals != "" {
		return s.Signals == SignalsFD, nil
	}
	if img.Signals == "" {
		return false, nil
	}
	if err := CheckSignals(img.Signals); err != nil {
		return false, fmt.Errorf("image label %s: %w", image.SignalsLabel, err)
	}
	return img.Signals == SignalsFD, nil
}
