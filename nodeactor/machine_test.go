package nodeactor

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/wazlet/wazlet/actors"
	"github.com/wazlet/wazlet/nodeactor/podcidr"
	"github.com/wazlet/wazlet/podactor"
)

var update = flag.Bool("update", false, "rewrite testdata/*.txt")

// TestMachine replays scripts: "> " begins an event, "# " a comment, everything else is what the machine wants done. A
// Pod is written uid or uid=name; u1 and u1=a are different Pods' UIDs and names. With ~ at the end it is on the host's network.
func TestMachine(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("scripts: %v, %v", files, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := play(t, string(data))
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			if d := cmp.Diff(string(data), got); d != "" {
				t.Errorf("script (-want +got):\n%s", d)
			}
		})
	}
}

func play(t *testing.T, script string) string {
	t.Helper()
	m := newMachine(2, admitTest, Network{}, actors.DefaultSupervision())
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	done := make(chan struct{})
	var out strings.Builder
	for line := range strings.Lines(script) {
		line = strings.TrimSpace(line)
		if d, ok := strings.CutPrefix(line, "+"); ok {
			pause, err := time.ParseDuration(d)
			if err != nil {
				t.Fatal(err)
			}
			now = now.Add(pause)
		}
		if line == "" || strings.ContainsAny(line[:1], "#+>") {
			fmt.Fprintln(&out, line)
		}
		if line == "> census" {
			fmt.Fprint(&out, showCensus(m.census()))
			continue
		}
		if ev, ok := strings.CutPrefix(line, "> "); ok {
			for _, e := range m.step(parse(t, &m, ev, done), now) {
				fmt.Fprintln(&out, "  "+show(e))
			}
		}
	}
	return out.String()
}

// showCensus is a line for each Pod, in order, and one for what was counted.
func showCensus(c Census) string {
	lines := make([]string, 0, len(c.Pods))
	for _, s := range c.Pods {
		name, unwanted := "-", ""
		if s.Pod != nil {
			name = s.Pod.Name
		}
		if s.Unwanted {
			unwanted = ", unwanted"
		}
		lines = append(lines, fmt.Sprintf("  %s %s%s\n", name, s.Lifecycle, unwanted))
	}
	slices.Sort(lines)
	return strings.Join(lines, "") + fmt.Sprintf("  %+v\n", c.Tally)
}

// admitTest refuses Pods that are called bad, and more than one that is called big.
func admitTest(pod *corev1.Pod, others []*corev1.Pod) *podactor.Rejection {
	bad := strings.HasPrefix(pod.Name, "bad")
	for _, o := range others {
		bad = bad || strings.HasPrefix(o.Name, "big") && strings.HasPrefix(pod.Name, "big")
	}
	if !bad {
		return nil
	}
	return &podactor.Rejection{Reason: "Why", Message: fmt.Sprintf("%s beside %d", pod.Name, len(others))}
}

// testPod reads uid, uid=name, with ~ at the end for one on the host's network, ^2 for a generation.
func testPod(word string) *corev1.Pod {
	word, generation, _ := strings.Cut(word, "^")
	n, _ := strconv.ParseInt(generation, 10, 64)
	word, host := strings.CutSuffix(word, "~")
	uid, name, ok := strings.Cut(word, "=")
	if !ok {
		name = uid
	}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{UID: types.UID(uid), Namespace: "ns", Name: name, Generation: n}, Spec: corev1.PodSpec{HostNetwork: host},
	}
}

func parse(t *testing.T, m *machine, line string, done chan struct{}) event {
	t.Helper()
	words := strings.Fields(line)
	uid := ""
	if len(words) > 1 {
		uid = words[1]
	}
	var pods []*corev1.Pod
	for _, w := range words[1:] {
		pods = append(pods, testPod(w))
	}
	switch words[0] {
	case "apply":
		return Apply{Pod: pods[0]}
	case "over": // a Pod that the API knows as ended, deleted when a second word says so
		p := pods[0]
		p.Status.Phase = corev1.PodFailed
		if len(words) > 2 {
			p.DeletionTimestamp = &metav1.Time{}
		}
		return Apply{Pod: p}
	case "delete": // what an API server sends
		p, grace := pods[0], int64(5)
		p.DeletionTimestamp, p.DeletionGracePeriodSeconds = &metav1.Time{}, &grace
		return Apply{Pod: p}
	case "remove":
		r := Remove{UID: uid}
		if len(words) > 2 {
			d, err := time.ParseDuration(words[2])
			if err != nil {
				t.Fatal(err)
			}
			r.Grace = &d
		}
		return r
	case "resync":
		return Resync{Pods: pods}
	case "refresh":
		return Refresh{Kind: "ConfigMap", Namespace: words[1], Name: words[2]}
	case "room": // for so many Pods
		m.maxPods = len(words) - 1
		return due{}
	case "network":
		return Connect{parseNetwork(t, words[1:])}
	case "host": // the node has this address now
		n := m.network
		n.HostIP = uid
		return Connect{n}
	case "tune":
		return Tune{Supervision: actors.DefaultSupervision()}
	case "exitNode":
		s := actors.DefaultSupervision()
		s.Pod.OnExceeded, s.Pod.MaxCrashes = actors.ExitNode, 1
		return Tune{Supervision: s}
	case "drain":
		return Drain{Done: done}
	case "recovered":
		return recovered{parseRemains(words[1:])}
	case "changed":
		return changed{uid: uid, status: corev1.PodStatus{Phase: corev1.PodPhase(words[2])}}
	case "ended":
		return ended{uid}
	case "failed":
		return failed{uid: uid, text: "boom", absent: len(words) > 2}
	case "gone":
		return gone{uid}
	case "due":
		d := due{uid: uid, gen: m.pods[uid].gen}
		if len(words) > 2 {
			d.gen--
		}
		return d
	case "cleared":
		c := cleared{uid: uid, gen: m.pods[uid].gen}
		if len(words) > 2 {
			c.err = errors.New(strings.Join(words[2:], " "))
		}
		return c
	case "resumed":
		r := resumed{present: map[string]bool{}}
		for _, w := range words[1:] {
			r.present[w] = true
		}
		return r
	}
	t.Fatalf("script: %q is no event", line)
	return nil
}

// parseNetwork reads a CIDR or a problem.
func parseNetwork(t *testing.T, words []string) Network {
	t.Helper()
	cidr, err := podcidr.Parse(words[0])
	if err != nil {
		return Network{Problem: strings.Join(words, " ")}
	}
	return Network{CIDR: cidr}
}

// parseRemains reads uid@address, uid, !uid for an orphan, ?text for a corrupt file, uid=name,Phase for one that came to its end.
func parseRemains(words []string) Remains {
	var r Remains
	for _, w := range words {
		switch w[0] {
		case '!':
			r.Orphans = append(r.Orphans, w[1:])
		case '?':
			r.Errs = append(r.Errs, errors.New(w[1:]))
		default:
			name, phase, over := strings.Cut(w, ",")
			name, ip, _ := strings.Cut(name, "@")
			c := podactor.Checkpoint{State: podactor.State{Pod: testPod(name), PodIP: ip}}
			switch {
			case over && phase == "finished":
				c.State.Stage, c.State.Outcome = podactor.StageFinished, &podactor.Outcome{Phase: corev1.PodSucceeded}
			case over && phase == "deleted":
				c.State.Deletion = &podactor.Deletion{Grace: time.Second}
			case over:
				c.State.Outcome = &podactor.Outcome{Phase: corev1.PodPhase(phase)}
			}
			r.Checkpoints = append(r.Checkpoints, c)
		}
	}
	return r
}

func show(e effect) string {
	switch e := e.(type) {
	case spawn:
		s := "spawn " + e.uid
		if e.start.Checkpoint != nil {
			s += " from its checkpoint"
		}
		if r := e.start.Reject; r != nil {
			s += fmt.Sprintf(", rejected: %s %q", r.Reason, r.Message)
		}
		return s + showNetwork(e.start.Network)
	case tell:
		if c, ok := e.command.(podactor.Terminate); ok {
			return strings.TrimSpace(fmt.Sprintf("tell %s Terminate in %s %s", e.uid, c.Grace, c.Reason))
		}
		if c, ok := e.command.(podactor.Connect); ok {
			return fmt.Sprintf("tell %s Connect%s", e.uid, showNetwork(c.Network))
		}
		return fmt.Sprintf("tell %s %s", e.uid, strings.TrimPrefix(fmt.Sprintf("%T", e.command), "podactor."))
	case wake:
		return fmt.Sprintf("wake %s in %s", e.due.uid, e.after)
	case sweep:
		if e.verdict != nil {
			return fmt.Sprintf("sweep %s, keep as %s %s %q", e.uid, e.verdict.Phase, e.verdict.Reason, e.verdict.Message)
		}
		return "sweep " + e.uid
	case publish:
		return fmt.Sprintf("publish %s %s %s", e.pod.UID, e.status.Phase, e.status.Reason)
	case forgotten:
		return "forgotten " + string(e.pod.UID)
	case moved:
		return fmt.Sprintf("%s -> %s (%s)", e.from, e.to, e.why)
	case observe:
		switch ev := e.event.(type) {
		case actors.Decision:
			return fmt.Sprintf("decide %s %s in %s", ev.Child, ev.Directive, ev.Delay)
		case actors.Notice:
			return fmt.Sprintf("notice %s %s: %s", ev.Pod.Name, ev.Reason, ev.Message)
		case actors.Transition, actors.Failure, actors.DeadLetter:
		}
	case restart:
		return "restart " + e.uid
	case stop:
		return "stop " + e.uid
	case fatal:
		return "fatal: " + e.err.Error()
	case load, drained:
	}
	return strings.TrimPrefix(fmt.Sprintf("%T", e), "nodeactor.")
}

func showNetwork(n podactor.Network) (text string) {
	switch {
	case n.Wait != nil:
		text = fmt.Sprintf(", waits: %s %q", n.Wait.Reason, n.Wait.Message)
	case n.IP != "":
		text = " at " + n.IP
	}
	if n.HostIP != "" {
		text += " on " + n.HostIP
	}
	return text
}

// TestPanicChangesNothing has a bug in a step: the state before it stays.
func TestPanicChangesNothing(t *testing.T) {
	m := newMachine(0, nil, Network{}, actors.DefaultSupervision())
	m.step(recovered{}, time.Time{})
	m.step(Apply{Pod: testPod("u1")}, time.Time{})
	before := m.list()
	func() {
		defer func() {
			if recover() == nil {
				t.Error("no panic")
			}
		}()
		m.step(Resync{Pods: []*corev1.Pod{testPod("u2"), nil}}, time.Time{})
	}()
	if d := cmp.Diff(before, m.list()); d != "" || m.state != stateSyncing {
		t.Errorf("state %s, Pods (-before +after):\n%s", m.state, d)
	}
}

func TestFailedStatus(t *testing.T) {
	now := metav1.NewTime(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	last := corev1.PodStatus{
		Phase: corev1.PodRunning,
		Conditions: []corev1.PodCondition{
			{Type: corev1.PodReady, Status: corev1.ConditionTrue}, {Type: corev1.PodInitialized, Status: corev1.ConditionTrue},
		},
		ContainerStatuses: []corev1.ContainerStatus{
			{Name: "up", Ready: true, ContainerID: "wazlet://1", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: now}}},
			{Name: "done", State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 3}}},
		},
	}
	started := false
	want := corev1.PodStatus{
		Phase: corev1.PodFailed, Reason: "AgentError", Message: "why",
		Conditions: []corev1.PodCondition{
			{Type: corev1.PodReady, Status: corev1.ConditionFalse, Reason: "PodFailed", LastTransitionTime: now},
			{Type: corev1.PodInitialized, Status: corev1.ConditionTrue},
		},
		ContainerStatuses: []corev1.ContainerStatus{
			{Name: "up", Started: &started, ContainerID: "wazlet://1", State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
				ExitCode: 137, Reason: "ContainerStatusUnknown", Message: "The container was ended with its Pod",
				StartedAt: now, FinishedAt: now, ContainerID: "wazlet://1",
			}}},
			{Name: "done", Started: &started, State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 3}}},
		},
	}
	got := failedStatus(last, podactor.Outcome{Phase: corev1.PodFailed, Reason: actors.ReasonAgentError, Message: "why"}, now.Time)
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("status (-want +got):\n%s", d)
	}
	if !last.ContainerStatuses[0].Ready {
		t.Error("the last status was changed in place")
	}
}
