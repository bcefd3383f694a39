package wasi

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
)

// The kernel's sock_diag(7): a request is struct inet_diag_req_v2, an answer starts with struct inet_diag_msg, both after a
// header of netlink. Ports and addresses are as on the wire.
const (
	diagByFamily = 20
	diagHeader   = unix.NLMSG_HDRLEN
	diagRequest  = diagHeader + 56
	diagPort     = diagHeader + 8 // of the request's source; that of the destination follows
	diagSource   = diagHeader + 12
	diagDest     = diagHeader + 28
	diagCookie   = diagHeader + 48

	answerSource = diagHeader + 8
	answerSize   = answerSource + 16
)

// foreign tells whether what is sent to an address of the Pod would reach a process of the node: one that listens on all
// addresses, of which those of Pods are some. Nothing of a Pod does. Not told are those that listen a moment later; a kernel
// that cannot be asked has none.
func foreign(kind filetype, to netip.AddrPort) bool {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, unix.NETLINK_INET_DIAG)
	if err != nil {
		return false
	}
	defer func() { _ = unix.Close(fd) }()
	if err := retry(func() error {
		return unix.Sendto(fd, diagQuery(kind, to), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
	}); err != nil {
		return false
	}
	var answer [1024]byte // it is there: the kernel answers while it is asked
	n, _, err := unix.Recvfrom(fd, answer[:], unix.MSG_DONTWAIT)
	if err != nil || n < answerSize || binary.NativeEndian.Uint16(answer[4:]) != diagByFamily {
		return false
	}
	local := netip.AddrFrom16([16]byte(answer[answerSource:answerSize]))
	if answer[diagHeader] == unix.AF_INET {
		local = netip.AddrFrom4([4]byte(answer[answerSource:]))
	}
	return local.Unmap() != to.Addr()
}

// diagQuery asks for the socket that a stranger's packet to an address would reach.
func diagQuery(kind filetype, to netip.AddrPort) []byte {
	b := make([]byte, diagRequest)
	binary.NativeEndian.PutUint32(b, diagRequest)
	binary.NativeEndian.PutUint16(b[4:], diagByFamily)
	binary.NativeEndian.PutUint16(b[6:], unix.NLM_F_REQUEST)
	b[diagHeader] = unix.AF_INET
	if to.Addr().Is6() {
		b[diagHeader] = unix.AF_INET6
	}
	port, addr := diagPort, diagSource
	b[diagHeader+1] = unix.IPPROTO_TCP
	if kind == socketDgram { // of which source and destination are those of the packet
		b[diagHeader+1] = unix.IPPROTO_UDP
		port, addr = diagPort+2, diagDest
	}
	binary.NativeEndian.PutUint32(b[diagHeader+4:], ^uint32(0)) // any state
	binary.BigEndian.PutUint16(b[port:], to.Port())
	copy(b[addr:], to.Addr().AsSlice())
	binary.NativeEndian.PutUint64(b[diagCookie:], ^uint64(0))
	return b
}
