//go:build !linux

package main

import (
	"fmt"

	"github.com/wazlet/wazlet/moduleactor/engine/rootfs"
)

// confineServe is never reached: only Linux has shared shims.
func confineServe(serveOptions) error { return nil }

// confine can do nothing here; see the Linux version for what is missing.
func (s *shim) confine([]rootfs.Opened) error {
	if s.spec.Landlock {
		fmt.Fprintln(s.stderr, "wazlet-shim run: warning: only Linux confines the shim to its files; for development only")
	}
	return nil
}
