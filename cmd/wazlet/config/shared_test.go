package config

import (
	"strings"
	"testing"
)

// Shared processes never get at what the node keeps, whichever way it is named.
func TestSharedHostPathsAreNotTheNodes(t *testing.T) {
	for dir, ok := range map[string]bool{
		"/srv/data": true, "/var/lib/wazlet2": true, "/var/lib/other": true,
		"/": false, "/var/lib": false, "/var/lib/wazlet": false, "/var/lib/wazlet/cache": false, "/srv/../var": false, "/srv/": false, "": false,
	} {
		c := rootHost.Default()
		c.Isolation.Shared.HostPaths = []string{dir}
		err := c.Validate()
		if (err == nil) != ok || err != nil && !strings.HasPrefix(err.Error(), "isolation.shared.hostPaths[0]: must ") {
			t.Errorf("%q: %v", dir, err)
		}
	}
}
