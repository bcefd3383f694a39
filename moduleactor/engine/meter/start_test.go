package meter_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	. "github.com/wazlet/wazlet/moduleactor/engine/enginetest"
	"github.com/wazlet/wazlet/moduleactor/engine/meter"
	"github.com/wazlet/wazlet/moduleactor/engine/wasm"
)

// TestExportStart: what would run at the instantiation is an export, if it is a function that may be there and the module's
// own; everything else stays for wazero to judge.
func TestExportStart(t *testing.T) {
	module := func(start uint32, export string) []byte {
		return Module(
			Section(1, Type(nil, nil), Type([]byte{i32}, nil)),
			Section(2, Import("env", "nothing", 0, 0)),
			Section(3, U32(0), U32(1)),
			Section(7, Export(export, 0, 1)),
			RawSection(8, U32(start)),
			Section(10, Body(), Body()),
		)
	}
	for name, tc := range map[string]struct {
		code     []byte
		o        meter.Options
		section  bool
		exported []string
	}{
		"its own":          {module(1, "f"), meter.Options{Every: 1, ExportStart: true}, false, []string{meter.StartExport, "f"}},
		"not asked for":    {module(1, meter.StartExport), meter.Options{Every: 1}, true, []string{meter.StartExport}},
		"not metered":      {module(1, "f"), meter.Options{ExportStart: true}, true, []string{"f"}},
		"an imported one":  {module(0, "f"), meter.Options{Every: 1, ExportStart: true}, true, []string{"f"}},
		"with a parameter": {module(2, "f"), meter.Options{Every: 1, ExportStart: true}, true, []string{"f"}},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := wasm.Parse(rewrite(t, tc.code, tc.o))
			if err != nil {
				t.Fatal(err)
			}
			var exported []string
			for _, e := range m.Exports {
				exported = append(exported, e.Name)
			}
			if diff := cmp.Diff(tc.exported, exported); diff != "" || m.Start != tc.section {
				t.Errorf("start section %v %s", m.Start, diff)
			}
		})
	}
	_, err := meter.Rewrite(module(1, meter.StartExport), meter.Options{Every: 1, ExportStart: true})
	if err == nil || !strings.HasSuffix(err.Error(), "it exports wazlet.start, which is the node's own") {
		t.Errorf("got %v", err)
	}
}
