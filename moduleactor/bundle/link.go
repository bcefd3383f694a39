package bundle

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wazlet/wazlet/moduleactor/bundle/wire"
)

const (
	// heartbeat is how often a shared shim is asked whether it lives, patience how many of them may pass while it says
	// nothing: its guests cannot hold it up, so that it would be stopped, or broken.
	defaultHeartbeat = 5 * time.Second
	patience         = 4
	// burials is how many endings are recorded at a time when all attempts of a shim end: each waits for the disk.
	burials = 16
)

// link is the connection to one process of a shared shim. It lasts until that process is dead or the Runtime is closed.
type link struct {
	shim  *shared
	pid   int
	pidfd *os.File
	// child is nil for a shim that an earlier daemon started.
	child *os.Process
	conn  *wire.Conn

	// gone is closed once the process is dead, its locks are free, and no more answers come.
	gone chan struct{}
	// heard is set by whatever the shim says.
	heard atomic.Bool
	// slots bounds the endings that are recorded at a time.
	slots chan struct{}

	mu      sync.Mutex
	idle    idleness
	seq     uint64
	calls   map[uint64]chan wire.Message
	watched map[string]*Process
	err     error // why calls are refused
	killed  error // why it was killed
}

func newLink(s *shared, pid int, pidfd *os.File, child *os.Process) *link {
	return &link{
		shim: s, pid: pid, pidfd: pidfd, child: child, gone: make(chan struct{}), slots: make(chan struct{}, burials),
		calls: map[uint64]chan wire.Message{}, watched: map[string]*Process{},
	}
}

// run starts the goroutines of the link. The caller holds shim.mu.
func (l *link) run() error {
	rt := l.shim.rt
	rt.mu.Lock()
	defer rt.mu.Unlock()
	if rt.ctx.Err() != nil {
		return errors.Join(ErrClosed, l.conn.Close(), l.pidfd.Close())
	}
	rt.links[l] = struct{}{}
	rt.wg.Go(l.receive)
	rt.wg.Go(l.beat)
	rt.wg.Go(l.outlive)
	return nil
}

// alive tells whether the shim can be asked for something.
func (l *link) alive() bool {
	if l.dead() {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err == nil
}

// dead tells whether the process is.
func (l *link) dead() bool {
	select {
	case <-l.gone:
		return true
	default:
		return false
	}
}

// add has the attempt told of its events. ErrBusy: it is already. errRetired: the shim takes no more of them.
func (l *link) add(p *Process) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case errors.Is(l.err, errRetired):
		return l.err
	case l.watched[p.dir] != nil:
		return fmt.Errorf("%w: it is being started or adopted", ErrBusy)
	}
	p.pid, p.link = l.pid, l
	l.watched[p.dir] = p
	return nil
}

// remove forgets an attempt, unless another has taken its place.
func (l *link) remove(p *Process) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.watched[p.dir] == p {
		delete(l.watched, p.dir)
	}
}

// call asks the shim and waits for the answer, which a shim that lives gives soon; one that does not is killed. So an
// error means that the shim refused, or that it is dead.
func (l *link) call(m wire.Message, with ...*os.File) (wire.Message, error) {
	return l.ask(m, nil, with...)
}

var errNoAnswer = errors.New("no answer")

// ask is call with a limit.
func (l *link) ask(m wire.Message, limit <-chan time.Time, with ...*os.File) (wire.Message, error) {
	answer := make(chan wire.Message, 1)
	l.mu.Lock()
	if l.err != nil {
		err := l.err
		l.mu.Unlock()
		return wire.Message{}, l.over(err)
	}
	l.seq++
	m.Seq = l.seq
	l.calls[m.Seq] = answer
	l.mu.Unlock()
	if err := l.conn.Send(m, with...); err != nil {
		l.kill(err)
	}
	select {
	case a := <-answer:
		if a.Error != "" {
			return a, fmt.Errorf("shared shim %s: %s", l.shim.name, a.Error)
		}
		return a, nil
	case <-limit:
		return wire.Message{}, errNoAnswer
	case <-l.gone:
		l.mu.Lock()
		defer l.mu.Unlock()
		return wire.Message{}, l.err
	}
}

func (l *link) over(err error) error {
	<-l.gone
	return err
}

// receive takes answers and events until the connection ends.
func (l *link) receive() {
	for {
		m, with, err := l.conn.Receive()
		wire.CloseAll(with)
		l.heard.Store(true)
		if err != nil {
			l.kill(fmt.Errorf("receive: %w", err))
			return
		}
		if m.Seq == 0 {
			l.event(m)
			continue
		}
		l.mu.Lock()
		answer := l.calls[m.Seq]
		delete(l.calls, m.Seq)
		l.mu.Unlock()
		if answer != nil {
			answer <- m
		}
	}
}

func (l *link) event(m wire.Message) {
	l.mu.Lock()
	p := l.watched[m.Bundle]
	if m.Op == wire.Ended {
		delete(l.watched, m.Bundle)
	}
	l.mu.Unlock()
	if p == nil {
		return
	}
	switch m.Op {
	case wire.Started:
		p.setState(State{PID: l.pid, StartedAt: m.StartedAt, Shim: l.shim.name}) // as in state.json, which takes longer to read
	case wire.Refused:
		l.shim.rt.refused(p, m.Text)
	case wire.Ended:
		l.shim.rt.wg.Go(func() { l.bury(p, "") })
	case wire.Run, wire.Watch, wire.Attach, wire.Signal, wire.Stats, wire.Ping: // have a number
	}
}

// bury records how an attempt ended.
func (l *link) bury(p *Process, why string) {
	p.execs.end()
	l.slots <- struct{}{}
	defer func() { <-l.slots }()
	if rt := l.shim.rt; rt.ctx.Err() != nil {
		p.err = ErrClosed
	} else {
		p.settle(death{at: rt.now(), why: why})
	}
	p.over()
}

// beat asks the shim again and again whether it lives. One that has said nothing for a while is ended, and with it all that
// it runs: nobody can say what becomes of them. What counts are beats and not the time, which passes while this process is
// stopped, too.
func (l *link) beat() {
	t := time.NewTicker(l.shim.rt.cfg.Heartbeat)
	defer t.Stop()
	asked := make(chan struct{}, 1) // has room unless a question is open
	for silent := 0; ; silent++ {
		select {
		case <-t.C:
		case <-l.gone:
			return
		}
		if l.heard.Swap(false) {
			silent = 0
		}
		if silent >= patience {
			l.kill(fmt.Errorf("no answer within %s", patience*l.shim.rt.cfg.Heartbeat))
			return
		}
		select {
		case asked <- struct{}{}:
			l.shim.rt.wg.Go(func() {
				if a, err := l.call(wire.Message{Op: wire.Ping}); err == nil {
					l.rest(a.Instances)
				}
				<-asked
			})
		default:
		}
	}
}

// kill ends the process, unless the Runtime is being closed. The first reason counts.
func (l *link) kill(why error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.end(why)
}

// end is kill for who holds the lock.
func (l *link) end(why error) {
	if l.err != nil {
		return
	}
	l.err = fmt.Errorf("shared shim %s is gone: %w", l.shim.name, why)
	if l.shim.rt.ctx.Err() != nil {
		l.err = ErrClosed
		return
	}
	l.killed = why
	_ = control(l.pidfd, func(fd int) { _ = pidfdSignal(fd, unix.SIGKILL) })
}

// release makes all goroutines of the link return although the shim lives.
func (l *link) release() {
	_ = l.pidfd.SetReadDeadline(time.Unix(1, 0))
	_ = l.conn.Close()
}

// outlive waits for the end of the process, and then buries what it ran.
func (l *link) outlive() {
	err := l.reap()
	rt := l.shim.rt
	l.kill(errors.Join(errors.New("the process ended"), err))
	_ = l.conn.Close()
	said := l.said()
	l.mu.Lock()
	killed := l.killed
	l.mu.Unlock()
	if rt.ctx.Err() == nil {
		l.shim.clear(errors.Is(killed, errRetired))
	}
	close(l.gone)
	rt.unlink(l)
	l.mu.Lock()
	watched := l.watched
	l.watched = map[string]*Process{}
	l.mu.Unlock()
	if rt.ctx.Err() != nil {
		for _, p := range watched {
			p.execs.end()
			p.err = ErrClosed
			p.over()
		}
		return
	}
	if !errors.Is(killed, errRetired) {
		rt.warn(&SharedShimError{Name: l.shim.name, PID: l.pid, Attempts: len(watched), Err: killed, Said: said})
	}
	for _, p := range watched {
		rt.wg.Go(func() { l.bury(p, "the shared shim "+l.shim.name+" ended") })
	}
}

// reap waits until the process is dead and its locks are free.
func (l *link) reap() error {
	err := awaitDeath(l.pidfd)
	if l.shim.rt.ctx.Err() != nil {
		return errors.Join(err, l.pidfd.Close())
	}
	if l.child != nil {
		_, _ = l.child.Wait() // it is dead, so this does not block
	}
	return errors.Join(err, l.pidfd.Close())
}

// said is the end of what the shim wrote to its log: a traceback, if it crashed.
func (l *link) said() string { return tailOf(l.shim.logPath(), maxMessage/2) }

// signal ends an attempt. It does not wait for the shim: an actor calls it, and a frozen shim would freeze that too.
func (l *link) signal(p *Process, kill bool) error {
	rt := l.shim.rt
	rt.mu.Lock()
	defer rt.mu.Unlock()
	if rt.ctx.Err() != nil {
		return ErrClosed
	}
	rt.wg.Go(func() {
		_, err := l.call(wire.Message{Op: wire.Signal, Bundle: p.dir, Kill: kill})
		if err != nil && l.alive() {
			rt.warn(fmt.Errorf("signal %s: %w", p.id, err))
		}
	})
	return nil
}

// statsPatience bounds how long whoever asks for statistics waits for a shim that is frozen.
const statsPatience = time.Second

// sample asks what an attempt has used. A guest's memory never shrinks and nothing of it is shared.
func (l *link) sample(p *Process) (Sample, error) {
	t := time.NewTimer(statsPatience)
	defer t.Stop()
	a, err := l.ask(wire.Message{Op: wire.Stats, Bundle: p.dir}, t.C)
	if err == nil && a.Usage == nil {
		err = errNoAnswer
	}
	if err != nil {
		return Sample{}, err
	}
	return Sample{
		CPU: time.Duration(a.Usage.CPUTimeNanos), MemoryBytes: a.Usage.MemoryBytes,
		WorkingSetBytes: a.Usage.MemoryBytes, RSSBytes: a.Usage.MemoryBytes,
	}, nil
}
