//go:build e2e

package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wazlet/wazlet/moduleactor/bundle"
	"github.com/wazlet/wazlet/moduleactor/bundle/cgroup"
)

// testLimits sees that the limits of a Pod hold on a cluster's node: the shim is in cgroups with them, and who takes more
// memory is ended for it.
func (c *controlPlane) testLimits() {
	c.create(c.limited("bounded", "idle"), c.limited("hoard", "allocate"))
	c.must("wait", "--for=jsonpath={.status.containerStatuses[0].state.terminated.reason}=OOMKilled", "pod/hoard", "--timeout=110s")
	c.must("wait", "--for=condition=Ready", "pod/bounded", "--timeout=110s")
	if c.mayMakeCgroups() {
		c.checkCgroups(c.shimOf(c.apiPods("app=bounded")[0]))
	}
	c.must("delete", "pod", "bounded", "hoard")
}

func (c *controlPlane) limited(name, behaviour string) any {
	p := template(name, corev1.RestartPolicyNever, behaviour)
	p.Name = name
	p.Spec.Containers[0].Resources.Limits = corev1.ResourceList{
		corev1.ResourceMemory: resource.MustParse("64Mi"), corev1.ResourceCPU: resource.MustParse("200m"),
	}
	return corev1.Pod{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}, ObjectMeta: p.ObjectMeta, Spec: p.Spec}
}

// mayMakeCgroups tells whether cgroups can be made here, as the node does.
func (c *controlPlane) mayMakeCgroups() bool {
	h, err := cgroup.Open("wazlet-e2e-" + strconv.Itoa(os.Getpid()))
	if err == nil {
		err = h.Create("probe/c-0", bundle.Limits{MemoryBytes: 1 << 20})
	}
	if err != nil {
		c.t.Logf("no cgroups here: %v", err)
		return false
	}
	dirs := h.Dirs("probe/c-0")
	if err := h.Remove(dirs); err != nil {
		c.t.Error(err)
	}
	for _, d := range dirs {
		_ = os.Remove(filepath.Dir(filepath.Dir(d)))
	}
	return true
}

// checkCgroups checks those of a running shim: it is in each, and one bounds its memory.
func (c *controlPlane) checkCgroups(pid int) {
	c.t.Helper()
	var spec bundle.Spec
	text, err := os.ReadFile(filepath.Join(c.shims()[pid], bundle.SpecFile))
	if err == nil {
		err = json.Unmarshal(text, &spec)
	}
	if err != nil || len(spec.Cgroups) == 0 {
		c.t.Fatalf("the shim %d has the cgroups %v (%v)", pid, spec.Cgroups, err)
	}
	var bound []int64
	for _, dir := range spec.Cgroups {
		procs, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		if err != nil || !slices.Contains(strings.Fields(string(procs)), strconv.Itoa(pid)) {
			c.t.Errorf("the shim %d is not in %s: %q, %v", pid, dir, procs, err)
		}
		for _, file := range []string{"memory.max", "memory.limit_in_bytes"} {
			if text, err := os.ReadFile(filepath.Join(dir, file)); err == nil {
				n, _ := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
				bound = append(bound, n)
			}
		}
	}
	if len(bound) != 1 || bound[0] < 64<<20 || bound[0] > 256<<20 {
		c.t.Errorf("the shim's memory is bounded by %v; want 64 MiB and something for the shim itself", bound)
	}
}
