package wasi

import (
	"encoding/binary"
	"math"

	"github.com/tetratelabs/wazero/api"
)

// memory is the guest's memory for the time of one call. Pointers and lengths are the guest's, and so may be anything.
type memory struct{ api.Memory }

// bytes are n bytes at ptr, as they are in the guest.
func (m memory) bytes(ptr, n uint64) ([]byte, Errno) {
	b, ok := m.Read(uint32(ptr), uint32(n))
	if !ok {
		return nil, efault
	}
	return b, esuccess
}

// array are n elements of a size, which together may be more than any memory has.
func (m memory) array(ptr, n, size uint64) ([]byte, Errno) {
	if n > math.MaxUint32/size {
		return nil, efault
	}
	return m.bytes(ptr, n*size)
}

func (m memory) putU32(ptr uint64, v uint32) Errno {
	if !m.WriteUint32Le(uint32(ptr), v) {
		return efault
	}
	return esuccess
}

func (m memory) putU64(ptr, v uint64) Errno {
	if !m.WriteUint64Le(uint32(ptr), v) {
		return efault
	}
	return esuccess
}

// maxPath bounds a path; longer ones are refused before they are copied.
const maxPath = 4096

func (m memory) path(ptr, n uint64) (string, Errno) {
	if uint32(n) > maxPath {
		return "", enametoolong
	}
	b, errno := m.bytes(ptr, n)
	return string(b), errno
}

const (
	// maxVectors is how many buffers a call may have, as on Linux.
	maxVectors = 1024
	vectorSize = 8
	// maxTransfer bounds what one call moves, so that it can be ended.
	maxTransfer = 4 << 20
)

// vectors are the buffers of one call.
type vectors struct {
	m    memory
	list []byte
	left uint32
}

func (m memory) vectors(ptr, n uint64) (vectors, Errno) {
	if uint32(n) > maxVectors {
		return vectors{}, einval
	}
	list, errno := m.array(ptr, uint64(uint32(n)), vectorSize)
	return vectors{m: m, list: list, left: maxTransfer}, errno
}

// next is the next buffer that is not empty, nil after the last or when enough was moved.
func (v *vectors) next() ([]byte, Errno) {
	for len(v.list) > 0 && v.left > 0 {
		ptr, n := binary.LittleEndian.Uint32(v.list), binary.LittleEndian.Uint32(v.list[4:])
		v.list = v.list[vectorSize:]
		if b, errno := v.m.bytes(uint64(ptr), uint64(n)); errno != esuccess {
			return nil, errno
		} else if n > 0 {
			b = b[:min(n, v.left)]
			v.left -= uint32(len(b))
			return b, esuccess
		}
	}
	return nil, esuccess
}
