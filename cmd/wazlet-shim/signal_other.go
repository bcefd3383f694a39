//go:build !linux

package main

import "errors"

// signalOnClose fails: only a node, which needs Linux, runs commands in containers.
func signalOnClose(int) error { return errors.New("needs Linux") }
