package debug

// A ring keeps the last elements that were pushed, the oldest first. The zero value is empty and ready.
type ring[T any] struct {
	buf   []T
	start int // index of the oldest element
}

// push adds x and drops the oldest element when there are limit or more already. The limit, at least 1, may differ from call to call;
// a lower one does not shrink the ring. It returns the change of the length: 1 or 0.
func (r *ring[T]) push(x T, limit int) int {
	if len(r.buf) < limit {
		if r.start != 0 {
			r.buf = r.last(len(r.buf))
			r.start = 0
		}
		r.buf = append(r.buf, x)
		return 1
	}
	r.buf[r.start] = x
	r.start = (r.start + 1) % len(r.buf)
	return 0
}

func (r *ring[T]) len() int { return len(r.buf) }

// at returns the i-th oldest element.
func (r *ring[T]) at(i int) T { return r.buf[(r.start+i)%len(r.buf)] }

// last returns a copy of the newest n elements, the oldest of them first.
func (r *ring[T]) last(n int) []T {
	n = min(n, len(r.buf))
	list := make([]T, 0, n)
	for i := len(r.buf) - n; i < len(r.buf); i++ {
		list = append(list, r.at(i))
	}
	return list
}
