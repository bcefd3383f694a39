package wasi

import "strings"

// device is a character device that this package makes up.
type device struct{ kind deviceKind }

type deviceKind int

const (
	nullDevice deviceKind = iota + 1
	zeroDevice
	fullDevice
	randomDevice
)

// device returns what is in the guest's /dev, unless something is mounted over it: nil if the path names none. Devices
// can be opened and asked about; they are not listed.
func (c call) device(d *dir, path string) object {
	if !d.dev && !strings.Contains(path, "dev/") {
		return nil
	}
	name, root := d.dir.Name(path)
	if !root || !strings.HasPrefix(name, "dev/") {
		return nil
	}
	switch name {
	case "dev/null":
		return &device{nullDevice}
	case "dev/zero":
		return &device{zeroDevice}
	case "dev/full":
		return &device{fullDevice}
	case "dev/random", "dev/urandom":
		return &device{randomDevice}
	case "dev/stdin":
		return c.table.stdio[0]
	case "dev/stdout":
		return c.table.stdio[1]
	case "dev/stderr":
		return c.table.stdio[2]
	default:
		return nil
	}
}

func (d *device) filetype() filetype { return characterDevice }
func (d *device) rights() Rights     { return streamRights }
func (d *device) close() error       { return nil }

func (d *device) stat() (filestat, Errno) {
	return filestat{ino: uint64(d.kind), nlink: 1, kind: characterDevice}, esuccess
}

func (d *device) read(p []byte) (int, Errno) { //nolint:unparam // it implements mover
	switch d.kind {
	case nullDevice:
		return 0, esuccess
	case randomDevice:
		random(p)
	default:
		clear(p)
	}
	return len(p), esuccess
}

func (d *device) write(p []byte) (int, Errno) {
	if d.kind == fullDevice {
		return 0, enospc
	}
	return len(p), esuccess
}
