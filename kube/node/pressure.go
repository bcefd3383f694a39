package node

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/clock"
)

// The signals, with the kubelet's names.
const (
	SignalMemory = "memory.available"
	SignalDisk   = "nodefs.available"
	SignalInodes = "nodefs.inodesFree"
	SignalPID    = "pid.available"
)

// PressureTransition is how long a condition stays after its cause has gone, as with the kubelet, so that it does not flap.
const PressureTransition = 5 * time.Minute

// DefaultThresholds are the kubelet's defaults for hard eviction, and one for process ids, for which it has none.
func DefaultThresholds() map[string]string {
	return map[string]string{SignalMemory: "100Mi", SignalDisk: "10%", SignalInodes: "5%", SignalPID: "5%"}
}

// threshold is an amount, or a part of the whole.
type threshold struct {
	amount uint64
	part   float64
}

func (t threshold) below(have, total uint64) bool {
	return have < max(t.amount, uint64(t.part*float64(total)))
}

// ValidateThresholds checks thresholds: a signal's name to a quantity or a percentage; 0 turns a signal off.
func ValidateThresholds(path *field.Path, thresholds map[string]string) field.ErrorList {
	_, errs := parseThresholds(path, thresholds)
	return errs
}

func parseThresholds(path *field.Path, texts map[string]string) (map[string]threshold, field.ErrorList) {
	signals := []string{SignalMemory, SignalDisk, SignalInodes, SignalPID}
	out := map[string]threshold{}
	var errs field.ErrorList
	for _, signal := range slices.Sorted(maps.Keys(texts)) {
		text := texts[signal]
		if !slices.Contains(signals, signal) {
			errs = append(errs, field.NotSupported(path, signal, signals))
			continue
		}
		if percent, found := strings.CutSuffix(text, "%"); found {
			n, err := strconv.ParseFloat(percent, 64)
			if err != nil || !(n >= 0 && n <= 100) { // not a number is neither
				errs = append(errs, field.Invalid(path.Key(signal), text, "must be a percentage from 0% to 100%"))
			}
			out[signal] = threshold{part: n / 100}
			continue
		}
		q, err := resource.ParseQuantity(text)
		if err != nil || q.Sign() < 0 {
			errs = append(errs, field.Invalid(path.Key(signal), text, "must be a quantity such as 100Mi, or a percentage"))
			continue
		}
		out[signal] = threshold{amount: uint64(q.Value())}
	}
	return out, errs
}

// MonitorConfig says what is watched.
type MonitorConfig struct {
	Host Host
	// Dirs are directories whose file systems must not become full.
	Dirs []string
	// Thresholds are as in DefaultThresholds, which nil means.
	Thresholds map[string]string
	// Clock is nil for the real one.
	Clock clock.PassiveClock
}

// Monitor watches memory, file systems and process ids.
type Monitor struct {
	config     MonitorConfig
	thresholds map[string]threshold

	mu sync.Mutex
	// until is when each condition may end.
	memory, disk, pid time.Time
}

// NewMonitor checks the thresholds.
func NewMonitor(config MonitorConfig) (*Monitor, error) {
	if config.Thresholds == nil {
		config.Thresholds = DefaultThresholds()
	}
	if config.Clock == nil {
		config.Clock = clock.RealClock{}
	}
	thresholds, errs := parseThresholds(field.NewPath("evictionHard"), config.Thresholds)
	if len(errs) > 0 {
		return nil, errs.ToAggregate()
	}
	return &Monitor{config: config, thresholds: thresholds}, nil
}

// Pressure is for Config.Pressure. What cannot be measured is an error; what was measured besides still counts at the next
// call.
func (m *Monitor) Pressure() (Pressure, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.config.Clock.Now()
	var errs []error
	for _, s := range []struct {
		until   *time.Time
		measure func() (bool, error)
	}{{&m.memory, m.lowMemory}, {&m.disk, m.lowDisk}, {&m.pid, m.lowPID}} {
		low, err := s.measure()
		if err != nil {
			errs = append(errs, err)
		}
		if low {
			*s.until = now.Add(PressureTransition)
		}
	}
	p := Pressure{Memory: now.Before(m.memory), Disk: now.Before(m.disk), PID: now.Before(m.pid)}
	return p, errors.Join(errs...)
}

func (m *Monitor) lowMemory() (bool, error) {
	memory, err := m.config.Host.meminfo()
	if err != nil {
		return false, err
	}
	limits := m.config.Host.limits()
	return m.thresholds[SignalMemory].below(min(memory["MemAvailable"], limits.free), min(memory["MemTotal"], limits.memory)), nil
}

func (m *Monitor) lowDisk() (bool, error) {
	var errs []error
	low := false
	for _, dir := range m.config.Dirs {
		fs, err := m.config.Host.statfs(dir)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		// Some file systems have no fixed number of inodes and say 0.
		low = low || m.thresholds[SignalDisk].below(fs.BytesFree, fs.Bytes) ||
			fs.Inodes > 0 && m.thresholds[SignalInodes].below(fs.InodesFree, fs.Inodes)
	}
	return low, errors.Join(errs...)
}

// lowPID compares the tasks of the machine with how many it can have.
func (m *Monitor) lowPID() (bool, error) {
	tasks, most, err := m.config.Host.tasks()
	if err != nil {
		return false, err
	}
	return m.thresholds[SignalPID].below(most-min(most, tasks), most), nil
}

// tasks counts the tasks of the machine, and how many it can have. Threads take process ids, too.
func (h Host) tasks() (tasks, most uint64, err error) {
	most, err = strconv.ParseUint(h.first("proc/sys/kernel/pid_max"), 10, 63)
	if err != nil {
		return 0, 0, fmt.Errorf("proc/sys/kernel/pid_max: %w", err)
	}
	if threads, err := strconv.ParseUint(h.first("proc/sys/kernel/threads-max"), 10, 63); err == nil {
		most = min(most, threads)
	}
	if fields := strings.Fields(h.first("proc/loadavg")); len(fields) > 3 {
		_, total, _ := strings.Cut(fields[3], "/")
		tasks, err = strconv.ParseUint(total, 10, 63)
		if err != nil {
			return 0, 0, fmt.Errorf("proc/loadavg: %w", err)
		}
	}
	return tasks, most, nil
}
