package debug

import (
	"container/list"
	"strings"
	"time"

	"github.com/wazlet/wazlet/actors"
)

// Bounds of the histories; doc.go says what they cost.
const (
	historyPerPod    = 256     // transitions of one Pod
	historyUnderLoad = 32      // ... when there are more than historyBudget in all
	historyBudget    = 131_072 // transitions of all Pods
	historyPods      = 20_000  // Pods
	historyKept      = 10 * time.Minute
	whyBytes         = 512 // of one transition's reason; a trap's text can be long
)

// podEnded is the pod actor's last state (architecture.md §3).
const podEnded = "Ended"

// change is one transition of a Pod's actor or of one of its containers' actors.
type change struct {
	Time  time.Time `json:"time"`
	Actor string    `json:"actor"`
	From  string    `json:"from"`
	To    string    `json:"to"`
	Why   string    `json:"why"`
}

type podHistory struct {
	ref     actors.PodRef
	changes ring[change]
	gone    time.Time // zero while the Pod is there
	place   *list.Element
}

// histories keeps what happened to each Pod. It is not safe for concurrent use.
type histories struct {
	byUID  map[string]*podHistory
	byName map[string]string // namespace/name to the UID that used it last
	recent *list.List        // of *podHistory, the least recently changed first
	gone   []departure       // in order of time
	total  int               // transitions of all Pods
}

type departure struct {
	uid string
	at  time.Time
}

func newHistories() *histories {
	return &histories{byUID: map[string]*podHistory{}, byName: map[string]string{}, recent: list.New()}
}

func (h *histories) add(t actors.Transition, now time.Time) {
	h.expire(now)
	if t.Pod.UID == "" {
		return
	}
	p := h.pod(t.Pod)
	limit := historyPerPod
	if h.total >= historyBudget {
		limit = historyUnderLoad
	}
	h.total += p.changes.push(change{t.Time, t.Actor, t.From, t.To, clip(t.Why, whyBytes)}, limit)
	h.recent.MoveToBack(p.place)
	if t.Kind != actors.KindPod {
		return
	}
	p.gone = time.Time{}
	if t.To == podEnded {
		p.gone = now
		h.gone = append(h.gone, departure{t.Pod.UID, now})
	}
}

// pod returns the Pod's history, new if need be, and makes it the one that its name stands for.
func (h *histories) pod(ref actors.PodRef) *podHistory {
	p := h.byUID[ref.UID]
	if p == nil {
		if len(h.byUID) >= historyPods {
			h.drop(h.recent.Front().Value.(*podHistory)) //nolint:errcheck,forcetypeassert // the list holds nothing else
		}
		p = &podHistory{ref: ref}
		p.place = h.recent.PushBack(p)
		h.byUID[ref.UID] = p
	}
	h.byName[key(ref)] = ref.UID
	return p
}

// expire drops the histories of Pods that ended historyKept ago.
func (h *histories) expire(now time.Time) {
	for len(h.gone) > 0 && now.Sub(h.gone[0].at) >= historyKept {
		d := h.gone[0]
		h.gone = h.gone[1:]
		// The Pod may have come back since, or ended a second time.
		if p := h.byUID[d.uid]; p != nil && p.gone.Equal(d.at) {
			h.drop(p)
		}
	}
}

func (h *histories) drop(p *podHistory) {
	h.total -= p.changes.len()
	h.recent.Remove(p.place)
	delete(h.byUID, p.ref.UID)
	if h.byName[key(p.ref)] == p.ref.UID {
		delete(h.byName, key(p.ref))
	}
}

// find returns the history of the Pod that used the name last, nil when there is none.
func (h *histories) find(namespace, name string) *podHistory {
	return h.byUID[h.byName[key(actors.PodRef{Namespace: namespace, Name: name})]]
}

func key(p actors.PodRef) string { return p.Namespace + "/" + p.Name }

// clip shortens s to at most n bytes and does not cut a character.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n-len("…")], "") + "…"
}
