//go:build !linux

package pty

import (
	"errors"
	"os"
)

var errNone = errors.New("terminals need Linux")

// Open fails: only Linux has what it needs.
func Open() (master, slave *os.File, err error) { return nil, nil, errNone }

// Resize fails.
func Resize(*os.File, Size) error { return errNone }

// Control fails.
func Control(*os.File) error { return errNone }
