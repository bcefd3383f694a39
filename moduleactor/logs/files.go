package logs

import (
	"container/list"
	"sync"
)

// Files bounds how many files a number of Writers have open: those that wrote last. The others' are opened again when they
// write. Its methods may be called from any goroutine, and on nil.
type Files struct {
	mu   sync.Mutex
	most int
	// recent has the Writers whose files are open, the last to write in front; at is where each is.
	recent *list.List
	at     map[*Writer]*list.Element
}

// NewFiles returns Files that keeps most files open.
func NewFiles(most int) *Files {
	return &Files{most: max(1, most), recent: list.New(), at: map[*Writer]*list.Element{}}
}

// opened and used are told that w writes; opened closes the files of others that have not written for the longest time.
// The caller holds w.mu. Others' are only tried, so that two never wait for each other: one that writes right now stays.
func (f *Files) opened(w *Writer) {
	if f == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.front(w)
	for e := f.recent.Back(); e != nil && len(f.at) > f.most; {
		previous := e.Prev()
		if old, ok := e.Value.(*Writer); ok && old != w && old.mu.TryLock() {
			_ = old.f.Close() // what was written was written
			old.f = nil
			old.mu.Unlock()
			f.remove(old)
		}
		e = previous
	}
}

func (f *Files) used(w *Writer) {
	if f == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.front(w)
}

// closed is told that w has closed its file itself.
func (f *Files) closed(w *Writer) {
	if f == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.remove(w)
}

func (f *Files) front(w *Writer) {
	if e := f.at[w]; e != nil {
		f.recent.MoveToFront(e)
		return
	}
	f.at[w] = f.recent.PushFront(w)
}

func (f *Files) remove(w *Writer) {
	if e := f.at[w]; e != nil {
		f.recent.Remove(e)
		delete(f.at, w)
	}
}
