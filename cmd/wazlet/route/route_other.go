//go:build !linux

package route

import (
	"errors"
	"net/netip"
)

func add(netip.Prefix) error { return errors.ErrUnsupported }
