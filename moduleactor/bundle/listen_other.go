//go:build !linux

package bundle

import (
	"errors"
	"os"
)

func bind(Listener) (*os.File, error) { return nil, errors.ErrUnsupported }
