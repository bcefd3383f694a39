package main

import (
	"strconv"
	"testing"
	"time"
)

func TestRefusalsAreToldOnce(t *testing.T) {
	var r refusals
	now := time.Unix(0, 0)
	told := 0
	for i := range 100 {
		if r.news(strconv.Itoa(i), now) {
			told++
		}
	}
	if told != burst {
		t.Errorf("%d of 100 at once were told, want %d", told, burst)
	}
	if r.news("0", now.Add(sayAgain-1)) || !r.news("0", now.Add(sayAgain)) {
		t.Error("the same must be news again after a while, and not before")
	}
	if len(r.said) > burst+1 {
		t.Errorf("%d texts are remembered", len(r.said))
	}
	r = refusals{}
	for i := range burst {
		r.news(strconv.Itoa(i), now)
	}
	if r.news("new", now.Add(refill-1)) || !r.news("new", now.Add(refill)) {
		t.Error("another must be told after a while, and not before")
	}
}
