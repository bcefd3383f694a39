package debug

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/wazlet/wazlet/actors"
)

var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func ofPod(n int, to string) actors.Transition {
	uid := fmt.Sprintf("uid-%d", n)
	return actors.Transition{
		Time: epoch, Actor: "pods/" + uid, Kind: actors.KindPod, Name: "p",
		Pod: actors.PodRef{UID: uid, Namespace: "ns", Name: fmt.Sprintf("pod-%d", n)}, From: "Running", To: to, Why: "because",
	}
}

func TestHistoryOfAPodIsBounded(t *testing.T) {
	h := newHistories()
	for range historyPerPod + 50 {
		h.add(ofPod(1, "Running"), epoch)
	}
	if got := h.find("ns", "pod-1").changes.len(); got != historyPerPod || h.total != historyPerPod {
		t.Errorf("kept %d, counted %d, want %d", got, h.total, historyPerPod)
	}
}

func TestHistoryIsDroppedSomeTimeAfterTheEnd(t *testing.T) {
	h := newHistories()
	h.add(ofPod(1, podEnded), epoch)
	h.add(ofPod(2, "Running"), epoch.Add(historyKept-time.Second))
	if h.find("ns", "pod-1") == nil {
		t.Fatal("dropped too soon")
	}
	h.expire(epoch.Add(historyKept))
	if h.find("ns", "pod-1") != nil || h.find("ns", "pod-2") == nil || h.total != 1 {
		t.Errorf("after the time: %d Pods, %d transitions", len(h.byUID), h.total)
	}
}

func TestHistoryOfAPodThatComesBackStays(t *testing.T) {
	h := newHistories()
	h.add(ofPod(1, podEnded), epoch)
	h.add(ofPod(1, "Admitting"), epoch.Add(time.Minute))
	h.expire(epoch.Add(time.Hour))
	if h.find("ns", "pod-1") == nil {
		t.Error("dropped although the Pod is there again")
	}
}

func TestNameStandsForTheLatestPod(t *testing.T) {
	h := newHistories()
	older, newer := ofPod(1, podEnded), ofPod(2, "Running")
	newer.Pod.Name = older.Pod.Name
	h.add(older, epoch)
	h.add(newer, epoch.Add(time.Second))
	if got := h.find("ns", "pod-1").ref.UID; got != "uid-2" {
		t.Errorf("the name stands for %s", got)
	}
	h.expire(epoch.Add(time.Hour)) // the older one goes, the name must not
	if h.find("ns", "pod-1") == nil {
		t.Error("the name went with the older Pod")
	}
}

func TestHistoriesOfTooManyPodsLoseTheLeastRecent(t *testing.T) {
	h := newHistories()
	for n := range historyPods {
		h.add(ofPod(n, "Running"), epoch)
	}
	h.add(ofPod(0, "Terminating"), epoch) // no longer the least recent
	h.add(ofPod(historyPods, "Running"), epoch)
	if len(h.byUID) != historyPods || h.find("ns", "pod-0") == nil || h.find("ns", "pod-1") != nil {
		t.Errorf("%d Pods are kept; pod-0 %v, pod-1 %v", len(h.byUID), h.find("ns", "pod-0"), h.find("ns", "pod-1"))
	}
}

// TestHistoriesUnderLoad is the worst case that doc.go gives numbers for: 10,000 Pods that all crash in a loop.
func TestHistoriesUnderLoad(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a second")
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	h := newHistories()
	const pods = 10_000
	for range historyUnderLoad + 2 {
		for n := range pods {
			h.add(ofPod(n, "Running"), epoch)
		}
	}
	if limit := historyBudget + pods*historyUnderLoad; h.total > limit {
		t.Errorf("%d transitions are kept, limit %d", h.total, limit)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	used := (int64(after.HeapAlloc) - int64(before.HeapAlloc)) >> 20
	t.Logf("%d transitions of %d Pods take %d MiB", h.total, len(h.byUID), used)
	if used > 128 {
		t.Errorf("%d MiB, documented are 70 MB", used)
	}
	runtime.KeepAlive(h)
}

func TestClipKeepsCharactersWhole(t *testing.T) {
	for _, s := range []string{"short", strings.Repeat("ä", 400), strings.Repeat("x", 600), strings.Repeat("€", 300)} {
		got := clip(s, whyBytes)
		if len(got) > whyBytes || !utf8.ValidString(got) {
			t.Errorf("%d bytes, valid %t", len(got), utf8.ValidString(got))
		}
		if len(s) <= whyBytes && got != s {
			t.Errorf("%q was changed", s)
		}
	}
}
