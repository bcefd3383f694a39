package bundle

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Each test has an address of its own, so that ports are nobody else's.
func testListener(network, address string) Listener {
	return Listener{Name: "http", Network: network, Address: netip.MustParseAddrPort(address)}
}

func dial(t *testing.T, address string) error {
	t.Helper()
	c, err := (&net.Dialer{Timeout: 10 * time.Second}).DialContext(t.Context(), "tcp", address)
	if err == nil {
		err = c.Close()
	}
	return err
}

// A port is the shim's from its start to its end, whatever becomes of the daemon.
func TestListenersLiveAsLongAsTheShim(t *testing.T) {
	const address = "127.77.1.1:8080"
	f := newFixture(t, t.TempDir(), nil)
	spec := testSpec(f.root, 0, "run")
	spec.Listeners = []Listener{testListener(NetworkTCP, address), testListener(NetworkUDP, address)}
	p, err := f.Start(t.Context(), spec, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	f.started(p)
	if err := dial(t, address); err != nil {
		t.Errorf("while it runs: %v", err)
	}
	var bind *BindError
	if _, err := bindAll(spec.Listeners[1:]); !errors.As(err, &bind) || bind.Listener.Network != NetworkUDP {
		t.Errorf("bound a second time: %v", err)
	}
	if err := f.Close(); err != nil { // as the daemon's end
		t.Fatal(err)
	}
	if err := dial(t, address); err != nil {
		t.Errorf("without a daemon: %v", err)
	}
	killShims(t, f.root)
	if err := dial(t, address); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("after its end: %v, want connection refused", err)
	}
}

// A port in use is named, leaves nothing behind, and is no matter once it is free.
func TestPortInUse(t *testing.T) {
	const address = "127.77.1.2:8080"
	other, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	f := newFixture(t, t.TempDir(), nil)
	spec := testSpec(f.root, 0, "run")
	spec.Listeners = []Listener{testListener(NetworkTCP, "127.77.1.2:8081"), testListener(NetworkTCP, address)}
	_, err = f.Start(t.Context(), spec, Limits{})
	if err == nil || !strings.Contains(err.Error(), "bind tcp 127.77.1.2:8080 (port http): address already in use") || !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("started on a port in use: %v", err)
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Start(t.Context(), spec, Limits{}); err != nil {
		t.Errorf("when the port was free: %v", err)
	}
}

// A guest that is restarted at once has its port, although connections to the one before linger.
func TestPortIsReused(t *testing.T) {
	const address = "127.77.1.3:8080"
	for range 2 {
		files, err := bindAll([]Listener{testListener(NetworkTCP, address)})
		if err != nil {
			t.Fatal(err)
		}
		l, err := net.FileListener(files[0])
		closeAll(files)
		if err != nil {
			t.Fatal(err)
		}
		closed := make(chan struct{})
		go func() {
			defer close(closed)
			if c, err := l.Accept(); err == nil {
				_ = c.Close() // first, so that it is this end that lingers
			}
		}()
		c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, c)
		_ = c.Close()
		<-closed
		_ = l.Close()
	}
}

func TestListenersAreChecked(t *testing.T) {
	spec := testSpec(t.TempDir(), 0, "x")
	spec.Listeners = []Listener{{Name: "a:b", Network: "sctp"}, testListener(NetworkTCP, "127.0.0.1:0")}
	err := spec.Validate()
	for _, want := range []string{
		`listeners[0].name: want a name without colons (got "a:b")`, `listeners[0].network: want tcp or udp (got "sctp")`,
		"listeners[0].address: want IP:PORT", `listeners[1].address: want IP:PORT (got "127.0.0.1:0")`,
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: want %s", err, want)
		}
	}
}
