package wasi

func (c call) fdRead() Errno  { return c.transferCall(rightRead, false) }
func (c call) fdWrite() Errno { return c.transferCall(rightWrite, true) }

func (c call) transferCall(need Rights, write bool) Errno {
	d, errno := c.table.get(c.a[0], need)
	if errno != esuccess {
		return errno
	}
	v, errno := c.mem.vectors(c.a[1], c.a[2])
	if errno != esuccess {
		return errno
	}
	n, errno := c.transfer(d, &v, write)
	if errno != esuccess {
		return errno
	}
	return c.mem.putU32(c.a[3], n)
}

// transfer moves what can be moved, and waits for the first byte unless the descriptor is nonblocking.
func (in *Instance) transfer(d *descriptor, v *vectors, write bool) (total uint32, errno Errno) {
	t, ok := d.object.(mover)
	if !ok {
		return 0, ebadf
	}
	p, errno := v.next()
	for p != nil && errno == esuccess {
		var n int
		if write {
			n, errno = t.write(p)
		} else {
			n, errno = t.read(p)
		}
		total += uint32(n)
		switch {
		case errno == eagain && in.inputOver(d.object, write):
			return total, esuccess
		case errno == eagain && total == 0 && d.waits() && canWait(d.object):
			in.waitFor(d.object, write)
			errno = esuccess
		case errno != esuccess || n < len(p):
			p = nil
		default:
			p, errno = v.next()
		}
	}
	if total > 0 {
		return total, esuccess // the error comes again with the next call
	}
	return 0, errno
}
