// Package wire is what a daemon and a shared shim say to each other: JSON messages in the packets of a Unix socket, some of
// them with a descriptor.
//
//	daemon ── run (with the attempt's lock), watch, attach, signal, stats, ping ──► shim     each is answered: same seq, same op
//	daemon ◄────────────────── started, refused, ended ──────────────────────────── shim     for attempts run or watched here
//
// Neither side waits for the other with anything but an answer in mind: a daemon may go and come back at any time.
package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// Op is what a message is about.
type Op string

// The requests and the events.
const (
	// Run starts the attempt in Bundle. Its lock comes with the message, then both ends of its terminal, if it has one, and
	// then the sockets of its listeners; whoever answers without an error holds the lock.
	Run Op = "run"
	// Watch asks for the events of an attempt. The answer has StartedAt if it was entered, and an Error if it is not here.
	Watch Op = "watch"
	// Attach has a client attach to an attempt. Its connection, as package ctl has it, comes with the message.
	Attach Op = "attach"
	// Signal ends an attempt: like SIGTERM, or like SIGKILL when Kill. One that is not here has ended.
	Signal Op = "signal"
	// Stats asks what an attempt has used.
	Stats Op = "stats"
	// Ping asks for an answer.
	Ping Op = "ping"

	// Started says that state.json is written and _start is about to be entered.
	Started Op = "started"
	// Refused says that something was refused to the guest, in the words of Text.
	Refused Op = "refused"
	// Ended says that exit.json is written and the lock is free.
	Ended Op = "ended"
)

// Message is a request, the answer to one, or an event.
type Message struct {
	// Seq is the number of a request, which its answer repeats; events have none.
	Seq uint64 `json:"seq,omitempty"`
	Op  Op     `json:"op"`
	// Bundle is the directory of the attempt.
	Bundle string `json:"bundle,omitempty"`
	Kill   bool   `json:"kill,omitempty"`
	Text   string `json:"text,omitempty"`
	// Error is why a request was refused.
	Error     string    `json:"error,omitempty"`
	StartedAt time.Time `json:"startedAt,omitzero"`
	Usage     *Usage    `json:"usage,omitempty"`
	// Instances is how many attempts run; in the answer to Ping.
	Instances int `json:"instances,omitempty"`
}

// Usage is what an attempt has used so far.
type Usage struct {
	CPUTimeNanos    int64  `json:"cpuTimeNanos"`
	MemoryBytes     uint64 `json:"memoryBytes"`
	PeakMemoryBytes uint64 `json:"peakMemoryBytes"`
}

// maxPacket bounds a message: a path and an error's text.
const maxPacket = 64 << 10

// maxFiles is how many files may come with a message; the kernel takes 253.
const maxFiles = 250

// maxText bounds Error, Text and Bundle.
const maxText = 8 << 10

func encode(m Message) ([]byte, error) {
	if len(m.Error) > maxText {
		m.Error = string(bytes.ToValidUTF8([]byte(m.Error[:maxText]), nil))
	}
	if len(m.Text) > maxText {
		m.Text = string(bytes.ToValidUTF8([]byte(m.Text[:maxText]), nil))
	}
	if len(m.Bundle) > maxText {
		return nil, fmt.Errorf("bundle: want at most %d bytes (got %d)", maxText, len(m.Bundle))
	}
	b, err := json.Marshal(m)
	if err == nil && len(b) > maxPacket {
		err = fmt.Errorf("message: want at most %d bytes (got %d)", maxPacket, len(b))
	}
	return b, err
}

func decode(b []byte) (Message, error) {
	var m Message
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&m); err != nil {
		return Message{}, fmt.Errorf("decode message: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return Message{}, errors.New("decode message: more than one JSON value")
	}
	if err := m.validate(); err != nil {
		return Message{}, fmt.Errorf("decode message: %w", err)
	}
	return m, nil
}

func (m *Message) validate() error {
	event, bundle := false, true
	switch m.Op {
	case Run, Watch, Attach, Signal, Stats:
	case Ping:
		bundle = false
	case Started, Refused, Ended:
		event = true
	default:
		return fmt.Errorf("op: want run, watch, attach, signal, stats, ping, started, refused or ended (got %.80q)", m.Op)
	}
	switch {
	case event != (m.Seq == 0):
		return fmt.Errorf("seq: want one for requests and answers, none for events (got %d with %s)", m.Seq, m.Op)
	case bundle != (m.Bundle != ""):
		return fmt.Errorf("bundle: want one with everything but ping (got %.80q with %s)", m.Bundle, m.Op)
	}
	return nil
}
