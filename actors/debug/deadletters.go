package debug

import (
	"cmp"
	"slices"
	"time"

	"github.com/wazlet/wazlet/actors"
)

const (
	lettersKept  = 200
	lettersKinds = 512 // pairs of target and message that are counted one by one
	otherLetters = "(other)"
)

type letterKind struct{ Target, Message string }

type letterCount struct {
	Target  string `json:"target"`
	Message string `json:"message"`
	Count   uint64 `json:"count"`
}

type letter struct {
	Time    time.Time `json:"time"`
	Target  string    `json:"target"`
	Message string    `json:"message"`
	Sender  string    `json:"sender"`
}

// letters counts dead letters and keeps the last ones. It is not safe for concurrent use.
type letters struct {
	total  uint64
	counts map[letterKind]uint64
	last   ring[letter]
}

func (l *letters) add(d actors.DeadLetter) {
	l.total++
	k := letterKind{d.Target, d.Message}
	if _, known := l.counts[k]; !known && len(l.counts) >= lettersKinds {
		k = letterKind{otherLetters, otherLetters}
	}
	l.counts[k]++
	l.last.push(letter(d), lettersKept)
}

// deadLetters is the answer of /debug/deadletters.
type deadLetters struct {
	Total  uint64        `json:"total"`
	Counts []letterCount `json:"counts"`
	Last   []letter      `json:"last"`
}

func (l *letters) report() deadLetters {
	counts := make([]letterCount, 0, len(l.counts))
	for k, n := range l.counts {
		counts = append(counts, letterCount{k.Target, k.Message, n})
	}
	slices.SortFunc(counts, func(a, b letterCount) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Target, b.Target), cmp.Compare(a.Message, b.Message))
	})
	return deadLetters{l.total, counts, l.last.last(lettersKept)}
}
