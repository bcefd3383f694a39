package node

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/util/validation/field"
	clocktesting "k8s.io/utils/clock/testing"
)

// machine is a directory that looks like a machine's root.
func machine(t *testing.T, changes map[string]string) Host {
	t.Helper()
	root := t.TempDir()
	files := map[string]string{
		"proc/meminfo":                       "MemTotal:       8000000 kB\nMemFree: 1 kB\nMemAvailable:   4000000 kB\nSwapTotal: 1000 kB\nHugePages_Total:       0\n",
		"proc/sys/kernel/random/boot_id":     "b1\n",
		"proc/sys/kernel/osrelease":          "6.12.0-arm64\n",
		"proc/sys/kernel/pid_max":            "4194304\n",
		"proc/sys/kernel/threads-max":        "1000\n",
		"proc/loadavg":                       "0.50 0.60 0.70 1/940 12345\n",
		"proc/self/cgroup":                   "0::/system.slice/wazlet.service\n",
		"sys/devices/system/cpu/online":      "0-2,5\n",
		"sys/class/dmi/id/product_uuid":      "S1\n",
		"etc/machine-id":                     "m1\n",
		"etc/os-release":                     "NAME=x\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n",
		"sys/fs/cgroup/system.slice/cpu.max": "max 100000\n",
	}
	maps.Copy(files, changes)
	for name, content := range files {
		if content == "" {
			continue
		}
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return Host{Root: root, Disk: "/data", Statfs: func(dir string) (Filesystem, error) {
		if dir != "/data" {
			return Filesystem{}, errors.New("statfs " + dir + ": no such file")
		}
		return Filesystem{Bytes: 1000, BytesFree: 500, Inodes: 100, InodesFree: 50}, nil
	}}
}

func TestMachine(t *testing.T) {
	base := Machine{
		MachineID: "m1", SystemUUID: "S1", BootID: "b1", KernelVersion: "6.12.0-arm64", OSImage: "Debian GNU/Linux 12 (bookworm)",
		CPUs: 4, MemoryBytes: 8000000 << 10, SwapBytes: 1000 << 10, DiskBytes: 1000,
	}
	for name, tt := range map[string]struct {
		files map[string]string
		want  func(*Machine)
	}{
		"plain": {nil, func(*Machine) {}},
		"control groups limit": {
			map[string]string{
				"sys/fs/cgroup/system.slice/wazlet.service/memory.max": "max\n",
				"sys/fs/cgroup/system.slice/memory.max":                "1000000\n",
				"sys/fs/cgroup/cpu.max":                                "150000 100000\n",
			},
			func(m *Machine) { m.CPUs, m.MemoryBytes = 2, 1000000 },
		},
		"little known": {
			map[string]string{
				"etc/machine-id": "", "var/lib/dbus/machine-id": "d1\n", "sys/class/dmi/id/product_uuid": "", "etc/os-release": "",
				"proc/self/cgroup": "4:memory:/x\n",
			},
			func(m *Machine) { m.MachineID, m.SystemUUID, m.OSImage = "d1", "d1", "Linux" },
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := machine(t, tt.files).Machine()
			if err != nil {
				t.Fatal(err)
			}
			want := base
			tt.want(&want)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	if _, err := machine(t, map[string]string{"proc/meminfo": "x"}).Machine(); err == nil || !strings.Contains(err.Error(), "MemTotal") {
		t.Error("no memory:", err)
	}
	h := machine(t, nil)
	h.Disk = "/elsewhere"
	if _, err := h.Machine(); err == nil || !strings.Contains(err.Error(), "/elsewhere") {
		t.Error("no disk:", err)
	}
}

func TestThisMachine(t *testing.T) {
	m, err := Host{Disk: t.TempDir()}.Machine()
	if err != nil {
		t.Fatal(err)
	}
	if m.CPUs < 1 || m.MemoryBytes < 1<<20 || m.DiskBytes < 1<<20 || m.KernelVersion == "" || m.BootID == "" {
		t.Errorf("%+v", m)
	}
}

func TestPressure(t *testing.T) {
	for name, tt := range map[string]struct {
		files      map[string]string
		thresholds map[string]string
		dirs       []string
		want       Pressure
		err        string
	}{
		"none by far":       {nil, map[string]string{}, []string{"/data"}, Pressure{}, ""},
		"defaults":          {map[string]string{"proc/loadavg": "0 0 0 1/951 9"}, nil, []string{"/data"}, Pressure{PID: true}, ""},
		"memory":            {nil, map[string]string{SignalMemory: "4Gi"}, nil, Pressure{Memory: true}, ""},
		"memory in percent": {nil, map[string]string{SignalMemory: "51%"}, nil, Pressure{Memory: true}, ""},
		"memory of the control group": {
			map[string]string{
				"sys/fs/cgroup/system.slice/memory.max":     "1000000000\n",
				"sys/fs/cgroup/system.slice/memory.current": "950000000\n",
				"sys/fs/cgroup/system.slice/memory.stat":    "anon 1\ninactive_file 10000000\n",
			},
			map[string]string{SignalMemory: "100M"},
			nil,
			Pressure{Memory: true},
			"",
		},
		"page cache is no pressure": {
			map[string]string{
				"sys/fs/cgroup/system.slice/memory.max":     "1000000000\n",
				"sys/fs/cgroup/system.slice/memory.current": "950000000\n",
				"sys/fs/cgroup/system.slice/memory.stat":    "inactive_file 100000000\n",
			},
			map[string]string{SignalMemory: "100M"},
			nil,
			Pressure{},
			"",
		},
		"disk":              {nil, map[string]string{SignalDisk: "50.1%"}, []string{"/data"}, Pressure{Disk: true}, ""},
		"disk exactly":      {nil, map[string]string{SignalDisk: "500"}, []string{"/data"}, Pressure{}, ""},
		"inodes":            {nil, map[string]string{SignalInodes: "51"}, []string{"/data"}, Pressure{Disk: true}, ""},
		"one disk is away":  {nil, map[string]string{SignalDisk: "501"}, []string{"/gone", "/data"}, Pressure{Disk: true}, "statfs /gone"},
		"pids":              {nil, map[string]string{SignalPID: "61"}, nil, Pressure{PID: true}, ""},
		"memory unreadable": {map[string]string{"proc/meminfo": ""}, nil, nil, Pressure{}, "meminfo"},
	} {
		t.Run(name, func(t *testing.T) {
			if tt.files["proc/loadavg"] == "" && tt.thresholds == nil {
				tt.thresholds = map[string]string{}
			}
			m, err := NewMonitor(MonitorConfig{Host: machine(t, tt.files), Dirs: tt.dirs, Thresholds: tt.thresholds})
			if err != nil {
				t.Fatal(err)
			}
			got, err := m.Pressure()
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
			if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("error %v, want %q", err, tt.err)
			}
		})
	}
}

func TestPressureLastsAWhile(t *testing.T) {
	clock := clocktesting.NewFakePassiveClock(noon)
	free := uint64(10)
	h := machine(t, nil)
	h.Statfs = func(string) (Filesystem, error) { return Filesystem{Bytes: 1000, BytesFree: free}, nil }
	m, err := NewMonitor(MonitorConfig{Host: h, Dirs: []string{"/data"}, Clock: clock})
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		at   time.Duration
		free uint64
		want bool
	}{
		{0, 500, false},
		{time.Minute, 10, true},
		{2 * time.Minute, 500, true},
		{6*time.Minute - time.Second, 500, true},
		{6 * time.Minute, 500, false},
	} {
		clock.SetTime(noon.Add(step.at))
		free = step.free
		p, err := m.Pressure()
		if err != nil {
			t.Fatal(err)
		}
		if p.Disk != step.want {
			t.Errorf("after %v: DiskPressure %v, want %v", step.at, p.Disk, step.want)
		}
	}
}

func TestValidateThresholds(t *testing.T) {
	for text, want := range map[string]string{
		"100Mi": "", "10%": "", "0": "", "0.5%": "", "-1": "quantity", "101%": "percentage", "NaN%": "percentage", "much": "quantity", "": "quantity",
	} {
		errs := ValidateThresholds(field.NewPath("evictionHard"), map[string]string{SignalDisk: text})
		if (len(errs) == 0) != (want == "") || len(errs) > 0 && !strings.Contains(errs[0].Error(), want) {
			t.Errorf("%q: %v, want %q", text, errs, want)
		}
	}
	errs := ValidateThresholds(field.NewPath("evictionHard"), map[string]string{"imagefs.available": "1%"})
	if len(errs) != 1 || errs[0].Type != field.ErrorTypeNotSupported {
		t.Error(errs)
	}
	if errs := ValidateThresholds(nil, DefaultThresholds()); len(errs) > 0 {
		t.Error("defaults:", errs)
	}
}
