// Package shim finds the wazlet-shim binary.
package shim

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Binary is the name of the shim's binary.
const Binary = "wazlet-shim"

// Find returns the path of wazlet-shim: the given one, or else the one beside the running wazlet.
func Find(path string) (string, error) {
	if path != "" {
		found, err := exec.LookPath(path)
		if err != nil {
			return "", fmt.Errorf("--shim: %w", err)
		}
		return filepath.Abs(found)
	}
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find %s: %w", Binary, err)
	}
	if self, err = filepath.EvalSymlinks(self); err != nil {
		return "", fmt.Errorf("find %s: %w", Binary, err)
	}
	beside := filepath.Join(filepath.Dir(self), Binary)
	if _, err := exec.LookPath(beside); err != nil {
		return "", fmt.Errorf("find %s beside wazlet: %w; name it with --shim PATH", Binary, err)
	}
	return beside, nil
}
