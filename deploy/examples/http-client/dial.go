//go:build wasip1

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"strconv"
	"structs"
	"syscall"
	"unsafe"
)

// The functions of the extension that a client needs, in version 2.

//go:wasmimport wasi_snapshot_preview1 sock_open
//go:noescape
func sockOpen(family, kind uint32, fd *uint32) syscall.Errno

//go:wasmimport wasi_snapshot_preview1 sock_connect
//go:noescape
func sockConnect(fd uint32, addr *address, port uint32) syscall.Errno

//go:wasmimport wasi_snapshot_preview1 sock_getsockopt
//go:noescape
func sockGetsockopt(fd, level, name uint32, value *uint32, size uint32) syscall.Errno

//go:wasmimport wasi_snapshot_preview1 sock_getaddrinfo
//go:noescape
func sockGetaddrinfo(node *byte, nodeLen uint32, service *byte, serviceLen uint32, hints *info, res *uint32, most uint32, n *uint32) syscall.Errno

// address leads to 4 or 16 bytes. Pointers are 32 bits wide in the guest's memory and 64 in Go's structures, hence uint32.
type address struct {
	_          structs.HostLayout
	data, size uint32
}

// info is an addrinfo, sockaddr what it leads to.
type info struct {
	_                              structs.HostLayout
	flags                          uint16
	family, kind                   uint8
	protocol, addrLen, addr        uint32
	canonicalName, canonicalLength uint32
	next                           uint32
}

type sockaddr struct {
	_                  structs.HostLayout
	family, size, data uint32
}

const (
	familyINET, familyINET6 = 1, 2
	kindStream              = 2
	optionError             = 2
)

func pointer[T any](p *T) uint32 { return uint32(uintptr(unsafe.Pointer(p))) }

// resolve returns the addresses of a name, port first and high byte first, as the extension has them.
func resolve(host, port string) ([][]byte, error) {
	const most = 8
	var (
		infos [most]info
		addrs [most]sockaddr
		data  [most][26]byte
		n     uint32
	)
	for i := range infos {
		addrs[i] = sockaddr{size: uint32(len(data[i])), data: pointer(&data[i])}
		infos[i].addr = pointer(&addrs[i])
		if i+1 < most {
			infos[i].next = pointer(&infos[i+1])
		}
	}
	node, service, first := []byte(host), []byte(port), pointer(&infos[0])
	err := sockGetaddrinfo(&node[0], uint32(len(node)), &service[0], uint32(len(service)), &info{kind: kindStream}, &first, most, &n)
	runtime.KeepAlive(&data)
	runtime.KeepAlive(&addrs)
	if err != 0 {
		return nil, fmt.Errorf("resolve %s: %w", host, err)
	}
	var out [][]byte
	for i := range n {
		size := 2 + 4
		if infos[i].family == familyINET6 {
			size = 2 + 16
		}
		out = append(out, data[i][:size])
	}
	return out, nil
}

// dial is http.Transport's DialContext.
func dial(_ context.Context, network, hostPort string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(hostPort)
	if err != nil {
		return nil, err
	}
	found, err := resolve(host, port)
	if err != nil {
		return nil, err
	}
	var failed error
	for _, a := range found {
		conn, err := connect(a)
		if err == nil {
			return conn, nil
		}
		failed = errors.Join(failed, fmt.Errorf("connect to %s port %s (%s): %w", net.IP(a[2:]), port, host, err))
	}
	return nil, failed
}

// connect connects to one address.
func connect(a []byte) (net.Conn, error) {
	family := uint32(familyINET)
	if len(a) > 6 {
		family = familyINET6
	}
	var fd uint32
	if err := sockOpen(family, kindStream, &fd); err != 0 {
		return nil, err
	}
	// Nonblocking, so that Go waits and its other goroutines go on.
	if err := syscall.SetNonblock(int(fd), true); err != nil {
		return nil, err
	}
	to := address{data: pointer(&a[2]), size: uint32(len(a) - 2)}
	err := sockConnect(fd, &to, uint32(a[0])<<8|uint32(a[1]))
	runtime.KeepAlive(a)
	f := os.NewFile(uintptr(fd), "connection "+strconv.Itoa(int(fd)))
	defer f.Close() // the connection has a descriptor of its own
	if err != 0 && err != syscall.EINPROGRESS {
		return nil, err
	}
	if err := connected(f, fd); err != nil {
		return nil, err
	}
	return net.FileConn(f)
}

// connected waits until the connection is made.
func connected(f *os.File, fd uint32) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var code uint32
	waited := false
	err = raw.Write(func(uintptr) bool {
		if !waited {
			waited = true
			return false // once it can be written to, it has failed or succeeded
		}
		if err := sockGetsockopt(fd, 0, optionError, &code, 4); err != 0 {
			code = uint32(err)
		}
		return true
	})
	if err == nil && code != 0 {
		err = syscall.Errno(code)
	}
	return err
}
