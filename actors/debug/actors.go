package debug

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/wazlet/wazlet/actors"
)

// serveActors answers GET /debug/actors. ?match= keeps the actors whose id, kind, name, state or Pod contains the
// text in any case; ?sort=mailbox|restarts|busy puts the largest or the longest first, without it the order is by id.
func (h *handler) serveActors(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	order, ok := orders()[query.Get("sort")]
	if !ok {
		refuse(w, r, http.StatusBadRequest, fmt.Sprintf("sort: want mailbox, restarts or busy, got %q", query.Get("sort")))
		return
	}
	list := h.Actors.Snapshot()
	if match := strings.ToLower(query.Get("match")); match != "" {
		list = slices.DeleteFunc(list, func(i actors.Info) bool { return !matches(i, match) })
	}
	if order != nil {
		slices.SortStableFunc(list, order)
	}
	if list == nil {
		list = []actors.Info{}
	}
	writeJSON(w, http.StatusOK, struct {
		Actors []actors.Info `json:"actors"`
	}{list})
}

func matches(i actors.Info, lower string) bool {
	for _, s := range []string{i.ID, i.Kind.String(), i.Name, i.State, key(i.Pod)} {
		if strings.Contains(strings.ToLower(s), lower) {
			return true
		}
	}
	return false
}

func orders() map[string]func(a, b actors.Info) int {
	return map[string]func(a, b actors.Info) int{
		"": nil,
		"mailbox": func(a, b actors.Info) int {
			return cmp.Or(cmp.Compare(b.Mailbox.Length, a.Mailbox.Length), cmp.Compare(b.Mailbox.HighWater, a.Mailbox.HighWater))
		},
		"restarts": func(a, b actors.Info) int { return cmp.Compare(b.Restarts, a.Restarts) },
		"busy":     busyLongest,
	}
}

// busyLongest puts who has been at one message for the longest time first, and who is idle last.
func busyLongest(a, b actors.Info) int {
	switch {
	case a.Handling == nil && b.Handling == nil:
		return 0
	case a.Handling == nil:
		return 1
	case b.Handling == nil:
		return -1
	}
	return a.Handling.Since.Compare(b.Handling.Since)
}
