package bundle

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
)

// Listener is a socket that the guest finds open. The daemon binds it before the shim starts, and lets go of it then: it
// lives as long as the shim.
type Listener struct {
	// Name is what the guest knows it by, in LISTEN_FDNAMES.
	Name string `json:"name"`
	// Network is tcp or udp, Address where it is bound.
	Network string         `json:"network"`
	Address netip.AddrPort `json:"address"`
}

// The networks of a Listener.
const (
	NetworkTCP = "tcp"
	NetworkUDP = "udp"
)

const (
	// maxListeners bounds the sockets of one container.
	maxListeners = 256
	// maxSharedListeners does so in a shared shim: they are handed over in one message, which cannot have more.
	maxSharedListeners = 240
)

// BindError is a port that cannot be had now. The same start may succeed later.
type BindError struct {
	Listener Listener
	Err      error
}

func (e *BindError) Error() string {
	return fmt.Sprintf("bind %s %s (port %s): %v", e.Listener.Network, e.Listener.Address, e.Listener.Name, e.Err)
}

func (e *BindError) Unwrap() error { return e.Err }

func (s *Spec) validateListeners() error {
	var errs []error
	if len(s.Listeners) > maxListeners {
		errs = append(errs, fmt.Errorf("listeners: want at most %d (got %d)", maxListeners, len(s.Listeners)))
	}
	for i, l := range s.Listeners {
		if l.Name == "" || strings.ContainsAny(l.Name, ":\x00") {
			errs = append(errs, fmt.Errorf("listeners[%d].name: want a name without colons (got %.80q)", i, l.Name))
		}
		if l.Network != NetworkTCP && l.Network != NetworkUDP {
			errs = append(errs, fmt.Errorf("listeners[%d].network: want tcp or udp (got %.80q)", i, l.Network))
		}
		if !l.Address.IsValid() || l.Address.Port() == 0 {
			errs = append(errs, fmt.Errorf("listeners[%d].address: want IP:PORT (got %q)", i, l.Address))
		}
	}
	return errors.Join(errs...)
}

// bindAll binds all or none. The files are the child's to inherit.
func bindAll(list []Listener) ([]*os.File, error) {
	files := make([]*os.File, 0, len(list))
	for _, l := range list {
		f, err := bind(l)
		if err != nil {
			closeAll(files)
			return nil, &BindError{Listener: l, Err: err}
		}
		files = append(files, f)
	}
	return files, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}
