package registry

import (
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"

	"github.com/wazlet/wazlet/moduleactor/image"
)

// bar shows how far a push or pull is, in one line of a terminal. On anything but a terminal it shows nothing.
type bar struct {
	options []mpb.ContainerOption // nil: show nothing, or nothing any more

	mu    sync.Mutex
	blobs map[string]image.Progress
	// screen and line are there once something was worth drawing.
	screen *mpb.Progress
	line   *mpb.Bar
}

const (
	// worthDrawing keeps configs and other small blobs from flashing by as a full bar.
	worthDrawing = 100_000
	// barColumns is how wide the bar gets on a terminal that has room for more.
	barColumns = 42
)

func newBar(out io.Writer) *bar {
	f, ok := out.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return &bar{}
	}
	return &bar{options: []mpb.ContainerOption{mpb.WithOutput(out)}}
}

// report is what a client calls with progress; nil when there is nothing to show.
func (b *bar) report() func(image.Progress) {
	if b.options == nil {
		return nil
	}
	return b.show
}

func (b *bar) show(p image.Progress) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.blobs == nil {
		b.blobs = map[string]image.Progress{}
	}
	b.blobs[p.Digest] = p
	var done, total int64
	for _, p := range b.blobs {
		done, total = done+p.Done, total+p.Total
	}
	if total < worthDrawing || b.options == nil {
		return
	}
	if b.line == nil {
		b.draw()
	}
	b.line.SetTotal(total, false)
	b.line.SetCurrent(done)
}

// draw begins to draw. The line has no total of its own, because it grows with each blob that is found.
func (b *bar) draw() {
	b.screen = mpb.New(b.options...)
	b.line = b.screen.New(0, mpb.BarStyle().Tip("=").Padding(" "), mpb.BarWidth(barColumns), mpb.AppendDecorators(
		decor.NewPercentage("%d", decor.WC{W: 4}),
		decor.Any(func(s decor.Statistics) string { return " of " + bytesText(s.Total) }),
	))
}

// finish gives the line back.
func (b *bar) finish() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.line == nil {
		return
	}
	b.line.Abort(true)
	b.screen.Wait()
	b.line, b.screen, b.options = nil, nil, nil
}

// bytesText writes a size as people say it; registries count in powers of ten.
func bytesText(n int64) string {
	const unit = 1000
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	v, i := float64(n)/unit, 0
	for ; v >= unit && i < 3; i++ {
		v /= unit
	}
	return fmt.Sprintf("%.1f %cB", v, "kMGT"[i])
}
