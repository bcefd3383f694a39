package node

import (
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var used = map[string]string{
	"proc/meminfo": "MemTotal: 8000 kB\nMemFree: 1000 kB\nMemAvailable: 4000 kB\nInactive(file): 2000 kB\nAnonPages: 3000 kB\n",
	"proc/stat":    "cpu  100 20 30 9000 500 6 7 8 50 0\ncpu0 1 1 1 1 1 1 1 1 0 0\nbtime 1700000000\n",
	"proc/vmstat":  "nr_free_pages 5\npgfault 77\npgmajfault 6\n",
	"proc/net/dev": "Inter-|   Receive  |  Transmit\n face |bytes packets\n" +
		"    lo: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n  eth1: 5 1 2 0 0 0 0 0 6 1 3 0 0 0 0 0\n  eth0: 10 1 0 0 0 0 0 0 20 1 0 0 0 0 0 0\n",
	"proc/net/route": "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\n" +
		"eth1\t0000630A\t00000000\t0001\t0\t0\t0\t00FFFFFF\neth0\t00000000\t0100630A\t0003\t0\t0\t0\t00000000\n",
}

func TestUsage(t *testing.T) {
	base := Usage{
		Booted: time.Unix(1_700_000_000, 0), CPU: 1710 * time.Millisecond,
		MemoryBytes: 8000 << 10, UsedBytes: 7000 << 10, WorkingSetBytes: 5000 << 10, RSSBytes: 3000 << 10,
		PageFaults: 77, MajorPageFaults: 6, Tasks: 940, MaxTasks: 1000,
		Interfaces: []Interface{{Name: "eth0", RxBytes: 10, TxBytes: 20}, {Name: "eth1", RxBytes: 5, RxErrors: 2, TxBytes: 6, TxErrors: 3}},
	}
	for name, tt := range map[string]struct {
		files map[string]string
		want  func(*Usage)
		err   string
	}{
		"plain":            {nil, func(*Usage) {}, ""},
		"no default route": {map[string]string{"proc/net/route": ""}, func(u *Usage) { u.Interfaces[0], u.Interfaces[1] = u.Interfaces[1], u.Interfaces[0] }, ""},
		"little known": {
			map[string]string{"proc/vmstat": "", "proc/net/dev": "", "proc/sys/kernel/pid_max": ""},
			func(u *Usage) { u.PageFaults, u.MajorPageFaults, u.Tasks, u.MaxTasks, u.Interfaces = 0, 0, 0, 0, nil }, "",
		},
		"a limit of a control group": {
			map[string]string{
				"sys/fs/cgroup/system.slice/memory.max": "4096000\n", "sys/fs/cgroup/system.slice/memory.current": "3000000\n",
				"sys/fs/cgroup/system.slice/memory.stat": "inactive_file 1000000\n",
			},
			func(u *Usage) {
				u.MemoryBytes, u.WorkingSetBytes, u.UsedBytes, u.RSSBytes = 4096000, 2000000, 4096000, 3000<<10
			}, "",
		},
		"no memory":           {map[string]string{"proc/meminfo": ""}, nil, "meminfo"},
		"no processors":       {map[string]string{"proc/stat": "btime 1\n"}, nil, "no line cpu"},
		"strange processors":  {map[string]string{"proc/stat": "cpu 1 2 x 4 5 6 7 8 9\n"}, nil, `field 4: want a number (got "x")`},
		"nothing of the rest": {map[string]string{"proc/stat": ""}, nil, "use of processors"},
	} {
		t.Run(name, func(t *testing.T) {
			files := map[string]string{}
			for _, m := range []map[string]string{used, tt.files} {
				maps.Copy(files, m)
			}
			got, err := machine(t, files).Usage()
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("error %v, want %q in it", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			want := base
			want.Interfaces = append([]Interface(nil), base.Interfaces...)
			tt.want(&want)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
