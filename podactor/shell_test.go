package podactor

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/wazlet/wazlet/actors"
	"github.com/wazlet/wazlet/moduleactor/bundle"
)

// A volume that is not there yet holds up its Pod, and only until it is there.
func TestPodWaitsForItsVolume(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	kind := corev1.HostPathDirectory
	pod := onePod("c")
	pod.Spec.Volumes = []corev1.Volume{{
		Name: "data", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: dir, Type: &kind}},
	}}
	n := newNode(t, 1, pod, forever)
	n.up()
	n.sim.Run(15 * time.Second)
	if s := n.status(); len(n.starts) != 0 || s.Phase != corev1.PodPending {
		t.Errorf("%d starts, phase %s", len(n.starts), s.Phase)
	}
	want := `MountVolume.SetUp failed for volume "data" : hostPath type check failed: ` + dir + " is not a directory"
	if !slices.ContainsFunc(n.sim.Events(), func(e actors.Event) bool {
		x, ok := e.(actors.Notice)
		return ok && x.Reason == actors.ReasonFailedMount && x.Message == want
	}) {
		t.Errorf("no event %q", want)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	n.sim.Run(time.Minute)
	if len(n.starts) != 1 {
		t.Errorf("%d starts after the volume came", len(n.starts))
	}
	n.tell(Terminate{})
	if _, err := os.Stat(dir); err != nil || n.ended != 1 {
		t.Errorf("after the deletion: %v, Ended %d times; a hostPath must stay", err, n.ended)
	}
	n.down()
}

// One container that cannot be configured does not keep the others from running.
func TestBadContainerDisturbsNoOther(t *testing.T) {
	pod := onePod("bad", "good")
	pod.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "none", MountPath: "/x"}}
	n := newNode(t, 1, pod, forever)
	n.up()
	n.sim.Run(time.Minute)
	got := n.status().ContainerStatuses
	if w := got[0].State.Waiting; w == nil || w.Reason != "CreateContainerConfigError" || w.Message != `volumeMounts[0]: name: the Pod has no volume "none"` {
		t.Errorf("bad: %+v", got[0].State)
	}
	if got[1].State.Running == nil {
		t.Errorf("good: %+v", got[1].State)
	}
	n.down()
}

// RestartAllContainers brings back module actors that were stopped for good, under the names they had.
func TestRestartAllContainersRespawns(t *testing.T) {
	pod := onePod("a", "b")
	pod.Spec.RestartPolicy = corev1.RestartPolicyNever
	pod.Spec.InitContainers = []corev1.Container{{Name: "init", Image: "i:1"}}
	never := corev1.ContainerRestartPolicyNever
	pod.Spec.Containers[0].RestartPolicy = &never
	pod.Spec.Containers[0].RestartPolicyRules = []corev1.ContainerRestartRule{{
		Action:    corev1.ContainerRestartRuleActionRestartAllContainers,
		ExitCodes: &corev1.ContainerRestartRuleOnExitCodes{Operator: corev1.ContainerRestartRuleOnExitCodesOpIn, Values: []int32{88}},
	}}
	n := newNode(t, 5, pod, func(name string, attempt int) plan {
		switch {
		case name == "a" && attempt < 3:
			return plan{run: 10 * time.Second, code: 88}
		case name == "b":
			return plan{run: time.Hour}
		default:
			return plan{run: time.Second}
		}
	})
	n.up()
	n.sim.Run(10 * time.Minute)
	for name, want := range map[string]int{"init": 4, "a": 4, "b": 4} {
		if got := len(n.guests[name]); got != want {
			t.Errorf("%s was started %d times, want %d", name, got, want)
		}
	}
	n.sim.Run(2 * time.Hour)
	if s := n.status(); s.Phase != corev1.PodSucceeded || s.ContainerStatuses[0].RestartCount != 3 {
		t.Errorf("phase %s, %+v", s.Phase, s.ContainerStatuses[0])
	}
	n.down()
}

// Where no Bundles are given, those of the root directory are used.
func TestBundlesOfTheRootDirectory(t *testing.T) {
	root := t.TempDir()
	b := bundlesOf(root)
	if found, err := b.Scan("uid-1"); err != nil || len(found) != 0 {
		t.Errorf("scan: %v, %v", found, err)
	}
	if err := b.RemoveAttempts("uid-1", "c", 1); err != nil {
		t.Errorf("remove attempts: %v", err)
	}
	old := Checkpoint{Version: 1, State: runningState(onePod("c"))}
	if err := old.Save(root); err != nil {
		t.Fatal(err)
	}
	if err := b.RemovePod("uid-1"); err != nil {
		t.Errorf("remove pod: %v", err)
	}
	dir, err := bundle.PodDir(root, "uid-1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the Pod's directory is left: %v", err)
	}
}
