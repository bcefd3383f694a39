package daemon

import (
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wazlet/wazlet/cmd/wazlet/config"
	"github.com/wazlet/wazlet/moduleactor/bundle"
)

// TestGuestLimits: every limit of the configuration reaches the specs of bundles, and every one there has a default here.
func TestGuestLimits(t *testing.T) {
	got := guestLimits(config.Default().GuestLimits)
	want := bundle.GuestLimits{
		MemoryBytes: 4 << 30, StackBytes: 8 << 20, TableElements: 1 << 20, OpenFiles: 1024, OutputBytesPerSecond: 8 << 20,
		DirectoryEntries: 128, PollSubscriptions: 4096,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	v := reflect.ValueOf(got)
	for i := range v.NumField() {
		if v.Field(i).IsZero() {
			t.Errorf("%s has no default", v.Type().Field(i).Name)
		}
	}
	if c := reflect.TypeFor[config.GuestLimits](); c.NumField() != v.NumField() {
		t.Errorf("%d limits in the configuration, %d in specs", c.NumField(), v.NumField())
	}
}
