package logs

import (
	"errors"
	"io"
	"math"
)

// errLimit ends the reading at LimitBytes.
var errLimit = errors.New("limit reached")

// sink turns entries back into lines.
type sink struct {
	opt    Options
	to     [3]io.Writer // by stream
	inLine [3]bool      // the stream's last line is not finished
	remain int64
	line   []byte
}

func newSink(o Options, stdout, stderr io.Writer) *sink {
	s := &sink{opt: o, remain: math.MaxInt64}
	if o.LimitBytes != nil {
		s.remain = *o.LimitBytes
	}
	if o.Stream == 0 || o.Stream == Stdout {
		s.to[Stdout] = stdout
	}
	if o.Stream == 0 || o.Stream == Stderr {
		s.to[Stderr] = stderr
	}
	return s
}

// write writes text of an entry; end says that its line ends here.
func (s *sink) write(h header, text []byte, end bool) error {
	w := s.to[h.stream]
	if w == nil || h.time.Before(s.opt.SinceTime) {
		return nil
	}
	s.line = s.line[:0]
	if s.opt.Timestamps && !s.inLine[h.stream] {
		s.line = append(h.time.AppendFormat(s.line, timeFormat), ' ')
	}
	s.line = append(s.line, text...)
	if end {
		s.line = append(s.line, '\n')
	}
	s.inLine[h.stream] = !end
	b := s.line[:min(int64(len(s.line)), max(0, s.remain))]
	n, err := w.Write(b)
	s.remain -= int64(n)
	switch {
	case err != nil:
		return err
	case n < len(b):
		return io.ErrShortWrite
	case s.remain <= 0:
		return errLimit
	}
	return nil
}
