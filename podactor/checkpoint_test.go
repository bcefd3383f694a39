package podactor

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"

	"github.com/wazlet/wazlet/actors"
)

func TestCheckpointRoundTrip(t *testing.T) {
	root := t.TempDir()
	s := runningState(onePod("a", "b"))
	s.Outcome = &Outcome{Phase: corev1.PodFailed, Reason: actors.ReasonDeadlineExceeded, Message: "late"}
	s.Deletion = &Deletion{Grace: 5, Reason: "R"}
	s.Containers[0].Last = exitWith(3, "boom")
	s.Containers[0].History = actors.History{Restarts: 2, Delay: 10, Pull: 20}
	want := Checkpoint{Version: 1, State: s, Conditions: []corev1.PodCondition{{Type: corev1.PodReady, LastTransitionTime: *apiTime(epoch)}}}
	if err := want.Save(root); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(root, "pods", "uid-1", "pod.json"))
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v: environment values are for the owner only", info, err)
	}
	got, errs := LoadCheckpoints(root)
	if len(got) != 1 || len(errs) != 0 {
		t.Fatalf("%d checkpoints, errors %v", len(got), errs)
	}
	ignored := cmp.Options{
		cmpopts.IgnoreFields(State{}, "Supervision"), cmpopts.IgnoreFields(Container{}, "Attached"), cmpopts.EquateApproxTime(0),
	}
	if d := cmp.Diff(want, got[0], ignored); d != "" {
		t.Errorf("checkpoint (-want +got):\n%s", d)
	}
	if got[0].Pod().Name != "p" {
		t.Errorf("Pod %q", got[0].Pod().Name)
	}
}

// The environment of a Pod must not pass through a directory that is everybody's.
func TestCheckpointStaysInThePodsDirectory(t *testing.T) {
	elsewhere := t.TempDir()
	t.Setenv("TMPDIR", elsewhere)
	if err := os.Chtimes(elsewhere, epoch, epoch); err != nil {
		t.Fatal(err)
	}
	c := Checkpoint{Version: 1, State: runningState(onePod("a"))}
	if err := c.Save(t.TempDir()); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(elsewhere); err != nil || !info.ModTime().Equal(epoch) {
		t.Errorf("TMPDIR was written to (%v)", err)
	}
}

// A checkpoint that is broken is an error of its own and hides no other.
func TestLoadCheckpointsReportsEachBadOne(t *testing.T) {
	root := t.TempDir()
	if got, errs := LoadCheckpoints(root); got != nil || errs != nil {
		t.Errorf("nothing there: %v, %v", got, errs)
	}
	good := Checkpoint{Version: 1, State: runningState(onePod("a"))}
	if err := good.Save(root); err != nil {
		t.Fatal(err)
	}
	write := func(uid string, change func(*Checkpoint)) {
		c := Checkpoint{Version: 1, State: good.State.clone()}
		c.State.Pod = good.State.Pod.DeepCopy()
		c.State.Pod.UID = "bad-" + c.State.Pod.UID
		change(&c)
		data, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		dir := filepath.Join(root, "pods", uid)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "pod.json"), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("1-version", func(c *Checkpoint) { c.Version = 9 })
	write("2-uid", func(*Checkpoint) {})
	write("3-pod", func(c *Checkpoint) { c.State.Pod = nil })
	write("4-stage", func(c *Checkpoint) { c.State.Pod.UID, c.State.Stage = "4-stage", 99 })
	write("5-less", func(c *Checkpoint) { c.State.Pod.UID, c.State.Containers = "5-less", nil })
	write("6-other", func(c *Checkpoint) { c.State.Pod.UID, c.State.Containers[0].Name = "6-other", "x" })
	write("7-module", func(c *Checkpoint) { c.State.Pod.UID, c.State.Containers[0].Stage = "7-module", 0 })
	if err := os.MkdirAll(filepath.Join(root, "pods", "8-none"), 0o700); err != nil {
		t.Fatal(err)
	}
	got, errs := LoadCheckpoints(root)
	if len(got) != 1 {
		t.Errorf("%d good checkpoints, want 1", len(got))
	}
	want := []string{
		"1-version: parse pod.json: version: want 1 (got 9)", `2-uid: parse pod.json: state.pod.metadata.uid: want "2-uid"`,
		"3-pod: parse pod.json: state.pod: missing", "4-stage: parse pod.json: state.stage: want 1 to 8 (got 99)",
		"5-less: parse pod.json: state.containers: want the Pod's 1 (got 0)", `6-other: parse pod.json: state.containers[0]: want Main "a" (got Main "x")`,
		"7-module: parse pod.json: state.containers[0].stage: want 1 to 8 (got 0)",
	}
	if len(errs) != len(want) {
		t.Fatalf("%d errors, want %d: %v", len(errs), len(want), errs)
	}
	for i, err := range errs {
		if !strings.Contains(err.Error(), want[i]) {
			t.Errorf("error %q, want %q", err, want[i])
		}
	}
}

// Whatever is taken for a checkpoint can be gone on with.
func FuzzCheckpoint(f *testing.F) {
	good, err := json.Marshal(Checkpoint{Version: 1, State: runningState(onePod("a", "b"))})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"version":1,"state":{"stage":3,"pod":{"metadata":{"uid":"uid-1"}},"deletion":{"grace":-1}}}`))
	f.Fuzz(func(_ *testing.T, data []byte) {
		c, err := parseCheckpoint(data, "uid-1")
		if err != nil {
			return
		}
		c.State.Supervision = actors.DefaultSupervision()
		s, _ := step(c.State, resumed{}, epoch)
		s, _ = step(s, prepared{}, epoch)
		s, _ = step(s, terminated{}, epoch)
		_ = deriveStatus(&s, Config{}, status{}, epoch)
	})
}
