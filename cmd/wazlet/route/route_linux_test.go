package route

import (
	"errors"
	"net/netip"
	"runtime"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// inNamespace runs f in a network namespace of its own, where a thread may make one.
func inNamespace(f func() error) error {
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with its namespace
		result <- func() error {
			if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
				return err
			}
			lo, err := netlink.LinkByName("lo")
			if err != nil {
				return err
			}
			if err := netlink.LinkSetUp(lo); err != nil {
				return err
			}
			return f()
		}()
	}()
	return <-result
}

func TestEnsureLocal(t *testing.T) {
	network := netip.MustParsePrefix("10.88.0.0/16")
	err := inNamespace(func() error {
		if isLocal(network) {
			return errors.New("10.88.0.0/16 is local before")
		}
		for range 2 { // the second time it is there
			if err := EnsureLocal(network); err != nil {
				return err
			}
		}
		if !isLocal(network) {
			return errors.New("10.88.0.0/16 is not local")
		}
		if isLocal(netip.MustParsePrefix("10.89.0.0/16")) {
			return errors.New("10.89.0.0/16 is local, too")
		}
		return EnsureLocal(netip.MustParsePrefix("10.88.7.0/24"))
	})
	if errors.Is(err, unix.EPERM) { // no privilege: then it must say so, and what to do
		err = EnsureLocal(netip.MustParsePrefix("192.0.2.0/24"))
		if err == nil || !strings.Contains(err.Error(), "ip route add local 192.0.2.0/24 dev lo") {
			t.Errorf("without privilege: %v", err)
		}
		return
	}
	if err != nil {
		t.Error(err)
	}
}

func TestLoopbackNeedsNothing(t *testing.T) {
	for _, network := range []string{"127.0.0.0/8", "127.88.0.0/16", "127.255.255.0/30"} {
		p := netip.MustParsePrefix(network)
		if err := EnsureLocal(p); err != nil {
			t.Errorf("EnsureLocal(%s): %v", network, err)
		}
		if !isLocal(p) {
			t.Errorf("%s is not local", network)
		}
	}
}
