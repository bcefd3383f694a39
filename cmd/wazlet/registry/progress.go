package registry

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"golang.org/x/term"

	"github.com/wazlet/wazlet/moduleactor/image"
)

// bar shows how far a push or pull is, in one line of a terminal. On anything but a terminal it shows nothing.
//
// It draws when a percent is added, not by time, so that a fast registry costs no more than a hundred lines' worth of bytes.
type bar struct {
	out   io.Writer
	width int // columns of the terminal; 0: show nothing

	mu    sync.Mutex
	blobs map[string]image.Progress
	drawn string
}

// worthDrawing keeps configs and other small blobs from flashing by as a full bar.
const worthDrawing = 100_000

func newBar(out io.Writer) *bar {
	f, ok := out.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return &bar{}
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil || width <= 0 {
		width = 80
	}
	return &bar{out: out, width: width}
}

// report is what a client calls with progress; nil when there is nothing to show.
func (b *bar) report() func(image.Progress) {
	if b.width == 0 {
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
	if total < worthDrawing {
		return
	}
	if line := drawBar(done, total, b.width-1); line != b.drawn {
		fmt.Fprintf(b.out, "\r%s", line)
		b.drawn = line
	}
}

// finish gives the line back.
func (b *bar) finish() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.drawn != "" {
		fmt.Fprintf(b.out, "\r%s\r", strings.Repeat(" ", len(b.drawn)))
		b.drawn = ""
	}
}

// drawBar draws a line of constant length.
func drawBar(done, total int64, width int) string {
	percent := int64(100)
	if total > 0 {
		percent = min(done*100/total, 100)
	}
	text := fmt.Sprintf(" %3d%% of %-9s", percent, bytesText(total))
	const most = 40
	cells := min(width-len(text)-2, most)
	if cells < 5 { // no room for a bar
		return text[:min(len(text), max(width, 0))]
	}
	filled := int(percent) * cells / 100
	return "[" + strings.Repeat("=", filled) + strings.Repeat(" ", cells-filled) + "]" + text
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
