package engine

import (
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestThreadCPU: whatever Go does with its goroutines, the time is that of the thread. A thread's clock never goes back, and
// is never ahead of what the kernel says of it a moment later.
func TestThreadCPU(t *testing.T) {
	busy := 4 * runtime.GOMAXPROCS(0)
	var wg sync.WaitGroup
	for range busy {
		wg.Go(func() {
			for range 20_000 {
				thread, used := threadCPU()
				const perThread = 4 | 2 // clock ids of the CPU time of single threads, see clock_getcpuclockid(3)
				var now unix.Timespec
				if err := unix.ClockGettime(int32(^thread<<3|perThread), &now); err != nil {
					t.Errorf("thread %d: %v", thread, err)
					return
				}
				if later := time.Duration(now.Nano()); later < used {
					t.Errorf("thread %d has used %v, and then %v", thread, used, later)
					return
				}
			}
		})
	}
	wg.Wait()
}
