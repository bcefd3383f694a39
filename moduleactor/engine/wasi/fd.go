package wasi

import "encoding/binary"

func (c call) fdClose() Errno {
	if _, errno := c.table.get(c.a[0], 0); errno != esuccess {
		return errno
	}
	return c.table.release(uint32(c.a[0]))
}

// fdRenumber moves a descriptor over another, which is closed.
func (c call) fdRenumber() Errno {
	from, errno := c.table.get(c.a[0], 0)
	if errno != esuccess {
		return errno
	}
	if _, errno := c.table.get(c.a[1], 0); errno != esuccess || uint32(c.a[0]) == uint32(c.a[1]) {
		return errno
	}
	_ = c.table.release(uint32(c.a[1]))
	c.table.list[uint32(c.a[1])], c.table.list[uint32(c.a[0])] = from, nil
	return esuccess
}

const fdstatSize = 24

func (c call) fdFdstatGet() Errno {
	d, errno := c.table.get(c.a[0], 0)
	if errno != esuccess {
		return errno
	}
	out, errno := c.mem.bytes(c.a[1], fdstatSize)
	if errno != esuccess {
		return errno
	}
	d.unseen = false
	clear(out)
	out[0] = byte(d.filetype())
	binary.LittleEndian.PutUint16(out[2:], uint16(d.flags))
	binary.LittleEndian.PutUint64(out[8:], uint64(d.base))
	binary.LittleEndian.PutUint64(out[16:], uint64(d.inheriting))
	return esuccess
}

// flagged is an object that has to know of flags.
type flagged interface{ setAppend(on bool) Errno }

// fdFdstatSetFlags changes append and nonblock, as fcntl(F_SETFL) does; what is synchronous stays it.
func (c call) fdFdstatSetFlags() Errno {
	d, errno := c.table.get(c.a[0], rightSetFlags)
	if errno != esuccess {
		return errno
	}
	const changeable = flagAppend | flagNonblock
	flags := fdflags(c.a[1])
	switch {
	case uint32(c.a[1])&^uint32(flagsAll) != 0:
		return einval
	case (flags^d.flags)&^changeable != 0:
		return enotsup
	}
	if f, ok := d.object.(flagged); ok && (flags^d.flags)&flagAppend != 0 {
		if errno := f.setAppend(flags&flagAppend != 0); errno != esuccess {
			return errno
		}
	}
	d.flags, d.unseen = flags, false
	return esuccess
}

// fdFdstatSetRights can only take rights away.
func (c call) fdFdstatSetRights() Errno {
	d, errno := c.table.get(c.a[0], 0)
	if errno != esuccess {
		return errno
	}
	base, inheriting := Rights(c.a[1]), Rights(c.a[2])
	if base&^d.base != 0 || inheriting&^d.inheriting != 0 {
		return enotcapable
	}
	d.base, d.inheriting = base, inheriting
	return esuccess
}

func (c call) fdFilestatGet(unstable bool) Errno {
	d, errno := c.table.get(c.a[0], rightFilestatGet)
	if errno != esuccess {
		return errno
	}
	st, errno := d.stat()
	if errno != esuccess {
		return errno
	}
	return c.mem.putFilestat(c.a[1], st, unstable)
}

const (
	filestatSize         = 64
	unstableFilestatSize = 56
)

// putFilestat writes the structure: wasi_unstable has 32 bits for the number of links, where preview 1 has 64.
func (m memory) putFilestat(ptr uint64, st filestat, unstable bool) Errno {
	size, times := uint64(filestatSize), 32
	if unstable {
		size, times = unstableFilestatSize, 24
	}
	out, errno := m.bytes(ptr, size)
	if errno != esuccess {
		return errno
	}
	clear(out)
	binary.LittleEndian.PutUint64(out, st.dev)
	binary.LittleEndian.PutUint64(out[8:], st.ino)
	out[16] = byte(st.kind)
	if unstable {
		binary.LittleEndian.PutUint32(out[20:], uint32(st.nlink))
	} else {
		binary.LittleEndian.PutUint64(out[24:], st.nlink)
	}
	for i, v := range []uint64{st.size, st.atim, st.mtim, st.ctim} {
		binary.LittleEndian.PutUint64(out[times+8*i:], v)
	}
	return esuccess
}

func (c call) preopened() (string, Errno) {
	d, errno := c.table.get(c.a[0], 0)
	if errno != esuccess || d.preopen == "" {
		return "", ebadf
	}
	return d.preopen, esuccess
}

func (c call) fdPrestatGet() Errno {
	name, errno := c.preopened()
	if errno != esuccess {
		return errno
	}
	return c.mem.putU64(c.a[1], uint64(len(name))<<32) // the tag of a directory is 0
}

func (c call) fdPrestatDirName() Errno {
	name, errno := c.preopened()
	if errno != esuccess {
		return errno
	}
	if uint64(uint32(c.a[2])) < uint64(len(name)) {
		return enametoolong
	}
	out, errno := c.mem.bytes(c.a[1], uint64(len(name)))
	copy(out, name)
	return errno
}
