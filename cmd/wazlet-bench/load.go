package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httputil"
	"strconv"
	"sync"
	"time"
)

// load is what clients found that ask without pause, each on a connection of its own.
type load struct {
	requests int
	took     time.Duration
	latency  []time.Duration
}

func (l *load) rate() float64 { return float64(l.requests) / l.took.Seconds() }

// generate asks a server for the time with so many clients. A response with another status than 200 is an error. The
// generator is made to cost little, since it runs on the CPUs that are measured.
func generate(ctx context.Context, addr string, clients int, during time.Duration) (*load, error) {
	ctx, cancel := context.WithTimeout(ctx, during)
	defer cancel()
	type result struct {
		latency []time.Duration
		err     error
	}
	results := make([]result, clients)
	begin := time.Now()
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() {
			results[i].latency, results[i].err = client(ctx, addr)
			if results[i].err != nil {
				cancel()
			}
		})
	}
	wg.Wait()
	all := &load{took: time.Since(begin)}
	for _, r := range results {
		if r.err != nil {
			return nil, r.err
		}
		all.requests += len(r.latency)
		all.latency = append(all.latency, r.latency...)
	}
	return all, nil
}

// client sends one request after the other on one connection until ctx ends.
func client(ctx context.Context, addr string) ([]time.Duration, error) {
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	defer func() { _ = c.Close() }()
	const patience = 30 * time.Second
	if deadline, ok := ctx.Deadline(); ok {
		if err := c.SetDeadline(deadline.Add(patience)); err != nil {
			return nil, err
		}
	}
	request := []byte("GET /hello?name=bench HTTP/1.1\r\nHost: " + addr + "\r\nUser-Agent: wazlet-bench\r\n\r\n")
	var latency []time.Duration
	for r := bufio.NewReader(c); ctx.Err() == nil; {
		begin := time.Now()
		if _, err := c.Write(request); err != nil {
			return nil, err
		}
		if err := readResponse(r); err != nil {
			return nil, err
		}
		latency = append(latency, time.Since(begin))
	}
	return latency, nil
}

// readResponse reads a response of status 200.
func readResponse(r *bufio.Reader) error {
	line, err := r.ReadSlice('\n')
	if err != nil {
		return err
	}
	if !bytes.HasPrefix(line, []byte("HTTP/1.1 200 ")) {
		return fmt.Errorf("the server says %.80q", line)
	}
	length, chunked := -1, false
	for {
		if line, err = r.ReadSlice('\n'); err != nil {
			return err
		}
		if len(line) <= len("\r\n") {
			break
		}
		if v, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(v))); err != nil {
				return err
			}
		}
		chunked = chunked || bytes.HasPrefix(line, []byte("Transfer-Encoding: chunked"))
	}
	switch {
	case chunked: // it was on its way for so long that its beginning was sent ahead
		if _, err = io.Copy(io.Discard, httputil.NewChunkedReader(r)); err == nil {
			_, err = r.ReadSlice('\n') // the end of the trailer
		}
		return err
	case length < 0:
		return errors.New("the response has no Content-Length")
	}
	_, err = io.CopyN(io.Discard, r, int64(length))
	return err
}
