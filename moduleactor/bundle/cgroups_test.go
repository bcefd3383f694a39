package bundle

import "testing"

func TestIsIn(t *testing.T) {
	const inner = "/wazlet/uid/c-0"
	split := []string{"/sys/fs/cgroup/cpu" + inner, "/sys/fs/cgroup/memory" + inner}
	tests := []struct {
		name, lines string
		dirs        []string
		want        bool
	}{
		{"version 2", "0::" + inner + "\n", []string{"/sys/fs/cgroup" + inner}, true},
		{"version 2, below", "0::/system.slice" + inner + "\n", []string{"/sys/fs/cgroup/system.slice" + inner}, true},
		{"version 2, elsewhere", "0::/wazlet/uid/c-1\n", []string{"/sys/fs/cgroup" + inner}, false},
		{"version 2, in the root", "0::/\n", []string{"/sys/fs/cgroup" + inner}, false},
		{"version 1", "9:cpu:" + inner + "\n4:memory:" + inner + "\n3:devices:/\n0::/\n", split, true},
		{"version 1, in one of two", "9:cpu:" + inner + "\n4:memory:/\n0::/\n", split, false},
		{"another root", "0::/docker/1" + inner + "\n", []string{"/sys/fs/cgroup" + inner}, false},
		{"not a list", "x", split, false},
		{"none", "0::/\n", nil, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := isIn(tt.lines, tt.dirs); got != tt.want {
				t.Errorf("got %t", got)
			}
		})
	}
}
