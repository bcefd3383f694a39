package image

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"k8s.io/utils/clock"
)

const (
	// stallTimeout is how long a download may stand still.
	stallTimeout = time.Minute
	// progressBytes is how much a broken download must have brought to be continued without counting as a failure.
	progressBytes = 64 << 10
)

// errDigest is content that is not what its digest says.
var errDigest = errors.New("the content does not match its digest")

// download fetches one blob into the store, continuing where an earlier attempt broke off.
type download struct {
	disk    disk
	session *session
	clock   clock.WithDelayedExecution
	desc    v1.Descriptor
	report  func(done int64)

	part     *partFile
	hash     hash.Hash
	have     int64 // bytes in part, all hashed
	best     int64 // the most there ever were
	pieced   bool  // part was put together from more than one answer
	restarts int
}

// maxRestarts bounds how often a blob is begun anew because its pieces did not fit together.
const maxRestarts = 2

func (d *download) run(ctx context.Context) error {
	hexadecimal := d.desc.Digest.Hex
	if d.disk.hasBlob(hexadecimal, d.desc.Size) {
		return nil
	}
	part, err := d.disk.openPartial(hexadecimal)
	if err != nil {
		return err
	}
	defer part.close()
	d.part = part
	if err := d.resume(ctx); err != nil {
		return err
	}
	for {
		err := retry(ctx, d.clock, func() (bool, error) { return d.attempt(ctx) })
		if err == nil {
			err = d.verify()
		}
		switch {
		case err == nil:
			return part.commit(d.disk, hexadecimal)
		case !errors.Is(err, errDigest) && !errors.Is(err, errBadRange):
			return explain("blob "+d.desc.Digest.String(), err)
		}
		again := (d.pieced || errors.Is(err, errBadRange)) && d.restarts < maxRestarts
		if rerr := d.restart(); rerr != nil {
			return rerr
		}
		if !again {
			part.discard()
			return fmt.Errorf("blob %s: %w", d.desc.Digest, err)
		}
	}
}

// resume hashes what is there already.
func (d *download) resume(ctx context.Context) error {
	d.hash = sha256.New()
	n, err := io.Copy(d.hash, &boundedReader{ctx: ctx, r: d.part.f, left: 1 << 62})
	if err != nil {
		return err
	}
	d.have, d.best, d.pieced = n, n, n > 0
	if n > d.desc.Size {
		return d.restart()
	}
	return nil
}

func (d *download) restart() error {
	d.hash, d.have, d.pieced = sha256.New(), 0, false
	d.restarts++
	return d.part.restart()
}

// attempt makes one request and says whether it brought the download forward.
func (d *download) attempt(ctx context.Context) (progress bool, err error) {
	if d.have == d.desc.Size {
		return false, nil
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stall := d.clock.AfterFunc(stallTimeout, func() { cancel(errStalled) })
	defer stall.Stop()
	body, start, err := d.session.blob(ctx, d.desc.Digest.String(), d.have)
	if err != nil {
		return false, stalled(ctx, err)
	}
	defer body.Close() //nolint:errcheck // only read
	if start != d.have {
		if err := d.restart(); err != nil {
			return false, err
		}
	}
	d.pieced = d.have > 0
	err = d.copy(body, stall)
	// A server that always begins at 0 gets no further by sending the same bytes again.
	progress = d.have-d.best >= progressBytes
	if progress {
		d.best = d.have
	}
	return progress, stalled(ctx, err)
}

// stalled replaces the error of a canceled request by why it was canceled.
func stalled(ctx context.Context, err error) error {
	if err != nil && errors.Is(context.Cause(ctx), errStalled) {
		return errStalled
	}
	return err
}

func (d *download) copy(body io.Reader, stall clock.Timer) error {
	buf := make([]byte, 128<<10)
	for {
		n, err := body.Read(buf)
		if n > 0 {
			stall.Reset(stallTimeout)
			if d.have+int64(n) > d.desc.Size {
				return fmt.Errorf("%w: the registry sends more than the %d bytes of its size", errDigest, d.desc.Size)
			}
			if _, werr := d.part.f.Write(buf[:n]); werr != nil {
				return werr
			}
			d.hash.Write(buf[:n])
			d.have += int64(n)
			d.report(d.have)
		}
		switch {
		case errors.Is(err, io.EOF) && d.have == d.desc.Size:
			return nil
		case errors.Is(err, io.EOF):
			return io.ErrUnexpectedEOF
		case err != nil:
			return err
		}
	}
}

func (d *download) verify() error {
	if got := digestSum(d.hash); got != d.desc.Digest.String() {
		return fmt.Errorf("%w: got %s", errDigest, got)
	}
	return nil
}
