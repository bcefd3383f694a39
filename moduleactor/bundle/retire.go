package bundle

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"
)

const (
	// generationDigits is the length of a generation, which must be told from few others.
	generationDigits  = 12
	defaultSharedIdle = 10 * time.Minute
)

// errRetired is why a shared shim without attempts was ended.
var errRetired = errors.New("it was retired, since it had no containers")

// latest is the name of the shared shim that new attempts go to: with the generation, which is another one after each upgrade
// of the binary or change of what it is started with. Attempts stay where they are until they end.
func (r *Runtime) latest(name string) (string, error) {
	name, _, _ = strings.Cut(name, ".")
	generation, err := r.generation()
	return name + "." + generation, err
}

func (r *Runtime) generation() (string, error) {
	identity, err := r.shimIdentity()
	if err != nil {
		return "", fmt.Errorf("tell the build of the shim: %w", err)
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s%q%q%d", identity, r.env(), r.serveArgs(), r.cfg.SharedMemoryBytes))
	return hex.EncodeToString(sum[:])[:generationDigits], nil
}

// current tells whether new attempts go to this shim. While nobody knows, it is.
func (s *shared) current() bool {
	name, err := s.rt.latest(s.name)
	return err != nil || name == s.name
}

// idleness is since when a shared shim has nothing to do; the zero value is: it has.
type idleness struct{ since time.Time }

// over tells whether a shim should be retired that is busy or not now.
func (i *idleness) over(now time.Time, busy, current bool, limit time.Duration) bool {
	if busy {
		i.since = time.Time{}
		return false
	}
	if i.since.IsZero() {
		i.since = now
	}
	return !current || now.Sub(i.since) >= limit
}

// rest is told how many attempts the shim says that it runs. One that has none, and will get none that is only being started,
// is ended when it is time: it is killed, since it has nothing to end and may be frozen.
func (l *link) rest(instances int) {
	current := l.shim.current()
	l.mu.Lock()
	defer l.mu.Unlock()
	rt := l.shim.rt
	if l.idle.over(rt.now(), instances > 0 || len(l.watched) > 0, current, rt.cfg.SharedIdle) {
		l.end(errRetired)
	}
}

// clear removes what a dead shim leaves: its cgroup, and its directory if nobody will want to read there why it ended. Nobody
// starts another meanwhile.
func (s *shared) clear(retired bool) {
	if s.rt.cfg.Cgroups != nil {
		s.rt.removeCgroups(s.rt.cfg.Cgroups.Dirs(sharedCgroup(s.name)))
	}
	if !retired && s.current() {
		return
	}
	lock, err := lockSoon(s.dir)
	if err == nil {
		defer lock.Close()
		err = moveToTrash(s.rt.cfg.Root, s.dir)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.rt.warn(fmt.Errorf("remove shared shim %s: %w", s.name, err))
	}
}

// findShims connects to the shared shims that earlier daemons started, so that those are retired that have nothing to do, and
// removes what is left of older generations.
func (r *Runtime) findShims() {
	names, err := listDirs(ShimsDir(r.cfg.Root), func(name string) bool { return validateShim(name) == nil })
	if err != nil {
		r.warn(fmt.Errorf("find shared shims: %w", err))
	}
	for _, name := range names {
		s, err := r.shim(name)
		if err == nil {
			err = s.visit()
		}
		if err != nil && !errors.Is(err, ErrBusy) && r.ctx.Err() == nil { // busy: it is ending
			r.warn(fmt.Errorf("find shared shim %s: %w", name, err))
		}
	}
}

// visit connects to the shim if it runs, or clears what it left.
func (s *shared) visit() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, err := s.find()
	if errors.Is(err, errNoShim) {
		if !s.current() {
			s.clear(false)
		}
		return nil
	}
	return err
}
