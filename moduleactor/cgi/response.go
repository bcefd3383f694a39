package cgi

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"sync"
	"time"
)

// stage is how far a response is.
type stage uint8

const (
	// inHeader: the instance has yet to finish the header.
	inHeader stage = iota + 1
	// held: the header is complete, and nothing is sent. Until the first byte of the body an error can still be told.
	held
	// sending: the client has a status.
	sending
	// ignoring: whatever the instance writes means nothing.
	ignoring
	// broken: the instance is being stopped, for the reason in failed.
	broken
)

// Errors of an instance's writes to stdout; a guest sees EIO.
var (
	errTimeout = errors.New("time-out")
	errBroken  = errors.New("the response is not wanted any more")
)

const notInTime = "not done in time"

// response is the stdout of one instance. The guest and the timer use it.
type response struct {
	w http.ResponseWriter
	// stop ends the instance.
	stop context.CancelCauseFunc

	mu     sync.Mutex
	stage  stage
	block  []byte // the header, as far as it is here
	header header
	failed *failure
	sent   int64
	flush  *time.Timer
	armed  bool // flush will run
	over   bool // w may not be used any more
}

func newResponse(w http.ResponseWriter, stop context.CancelCauseFunc) *response {
	return &response{w: w, stop: stop, stage: inHeader}
}

// Write takes output of the instance. It blocks while the client does not read.
func (o *response) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := len(p)
	if o.stage == inHeader {
		p = o.takeHeader(p)
	}
	if (o.stage == held || o.stage == sending) && len(p) > 0 {
		o.takeBody(p)
	}
	if o.stage == broken {
		return 0, errBroken
	}
	return n, nil
}

// takeHeader returns what follows the header.
func (o *response) takeHeader(p []byte) []byte {
	if len(o.block) == 0 { // the common case spares the copy
		if end := endOfHeader(p[:min(len(p), MaxResponseHeaderBytes)], 0); end > 0 {
			o.parse(p[:end])
			return p[end:]
		}
	}
	before, from := len(o.block), lineStart(o.block)
	o.block = append(o.block, p[:min(len(p), MaxResponseHeaderBytes-before)]...)
	end := endOfHeader(o.block, from)
	switch {
	case end > 0:
		o.parse(o.block[:end])
		o.block = nil
		return p[end-before:]
	case len(o.block) == MaxResponseHeaderBytes:
		o.fail(fmt.Sprintf("the header does not end within %d bytes", MaxResponseHeaderBytes))
	}
	return nil
}

func (o *response) parse(block []byte) {
	h, err := parseHeader(block)
	if err != nil {
		o.fail(err.Error())
		return
	}
	o.header, o.stage = h, held
	if h.local != "" {
		o.stage = ignoring
		return
	}
	o.arm()
}

func (o *response) takeBody(p []byte) {
	if o.stage == held {
		switch {
		case bodyless(o.header.status):
			o.commit()
			o.stage = ignoring
			return
		case o.header.fields["Content-Type"] == nil:
			o.fail("a body without a Content-Type")
			return
		}
		o.commit()
	}
	n, err := o.w.Write(p)
	o.sent += int64(n)
	switch {
	case errors.Is(err, http.ErrContentLength):
		o.fail(fmt.Sprintf("the body is longer than its Content-Length of %d", o.header.length))
	case err != nil:
		o.brk(&failure{status: statusClientGone})
	default:
		o.arm()
	}
}

// commit sends the status and the header, or has net/http do it with the first bytes of the body.
func (o *response) commit() {
	h := o.w.Header()
	maps.Copy(h, o.header.fields)
	if h["Content-Type"] == nil {
		h["Content-Type"] = nil // none, rather than a guess
	}
	o.w.WriteHeader(o.header.status)
	o.stage = sending
}

// arm has what is there sent soon.
func (o *response) arm() {
	switch {
	case o.armed:
	case o.flush == nil:
		o.flush, o.armed = time.AfterFunc(flushDelay, o.onFlush), true
	default:
		o.flush.Reset(flushDelay)
		o.armed = true
	}
}

func (o *response) onFlush() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.armed = false
	if o.over || o.stage != held && o.stage != sending {
		return
	}
	if o.stage == held {
		o.commit()
	}
	if err := http.NewResponseController(o.w).Flush(); err != nil {
		o.brk(&failure{status: statusClientGone})
	}
}

func (o *response) fail(why string) { o.brk(&failure{status: http.StatusBadGateway, why: why}) }

// brk ends the instance. What it was broken for first counts.
func (o *response) brk(f *failure) {
	if o.failed == nil {
		o.failed = f
		if o.stage == sending && f.status != statusClientGone {
			f.status = 0
		}
	}
	o.stage = broken
	o.stop(errBroken)
}

// end judges how it went once the instance has ended, cause being why it was stopped, if it was. The status of a failure is
// 0 if it comes too late to be told.
func (o *response) end(res Result, cause error) (redirect string, f *failure) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.over = true
	if o.flush != nil {
		o.flush.Stop()
	}
	committed := o.stage == sending || o.stage == ignoring && o.header.local == ""
	if f := o.failed; f != nil {
		if f.status == statusClientGone && errors.Is(cause, errTimeout) {
			*f = failure{0, notInTime} // the client did not leave, its connection was given a deadline
		}
		return "", f
	}
	if f := o.judge(res, cause); f != nil {
		if committed && f.status != statusClientGone {
			f.status = 0
		}
		return "", f
	}
	if o.stage == held {
		o.commit()
	}
	return o.header.local, nil
}

func (o *response) judge(res Result, cause error) *failure {
	switch {
	case errors.Is(cause, errTimeout):
		return &failure{http.StatusGatewayTimeout, notInTime}
	case cause != nil:
		return &failure{status: statusClientGone}
	case res.Code != 0:
		why := fmt.Sprintf("exit code %d", res.Code)
		if res.Message != "" {
			why += ": " + res.Message
		}
		return &failure{http.StatusBadGateway, why}
	case o.stage == inHeader:
		return &failure{http.StatusBadGateway, "the module ended before an empty line ended its header"}
	case o.stage == sending && o.header.length >= 0 && o.sent < o.header.length:
		return &failure{http.StatusBadGateway, fmt.Sprintf("a body of %d bytes with a Content-Length of %d", o.sent, o.header.length)}
	}
	return nil
}
