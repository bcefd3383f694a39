package client

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

const (
	// pollEvery is how often a node without an event stream is asked.
	pollEvery = time.Second
	// gatherFor is how long events are gathered before the node is asked again.
	gatherFor = 100 * time.Millisecond
	// refreshEvery is how often a node with an event stream is asked all the same, for what makes no event.
	refreshEvery = 5 * time.Second
)

// follow calls show at once, and then after each event of the node, or every second where it has no event stream, until
// ctx is done, show fails or the stream breaks.
func (n *node) follow(ctx context.Context, show func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	every := refreshEvery
	wake, broken := make(chan struct{}, 1), make(chan error, 1)
	stream, err := n.open(ctx, "/debug/events", nil)
	if se, ok := errors.AsType[*statusError](err); ok && se.code == http.StatusNotFound {
		every, err = pollEvery, nil
	}
	if err != nil {
		return err
	}
	if stream != nil {
		go readEvents(stream, wake, broken)
		defer func() { cancel(); <-broken }() //nolint:errcheck // waits for the reader, whose end was asked for
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		if err := show(ctx); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		case err := <-lost(stream, broken):
			broken <- err
			return n.unreachable(fmt.Errorf("the connection was closed: %w", err))
		case <-wake:
			if err := gather(ctx); err != nil {
				return err
			}
		}
	}
}

// lost is broken where there is a stream, and a channel that is never ready otherwise.
func lost(stream io.Closer, broken <-chan error) <-chan error {
	if stream == nil {
		return nil
	}
	return broken
}

func gather(ctx context.Context) error {
	timer := time.NewTimer(gatherFor)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// readEvents wakes the reader of wake for each event of a stream of server-sent events, and tells broken its end.
func readEvents(stream io.ReadCloser, wake chan<- struct{}, broken chan<- error) {
	defer stream.Close() //nolint:errcheck // only read
	lines := bufio.NewReader(stream)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			broken <- err
			return
		}
		if strings.HasPrefix(line, "data:") {
			select {
			case wake <- struct{}{}:
			default: // it will look anyway
			}
		}
	}
}
