package node

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func TestValidateLabels(t *testing.T) {
	for name, tt := range map[string]struct{ key, value, want string }{
		"own domain":           {"example.com/rack", "7", ""},
		"no domain":            {"type", "krustlet", ""},
		"zone":                 {"topology.kubernetes.io/zone", "a", ""},
		"instance type":        {"node.kubernetes.io/instance-type", "m5", ""},
		"node namespace":       {"node.kubernetes.io/anything", "a", ""},
		"below kubelet's":      {"x.kubelet.kubernetes.io/anything", "a", ""},
		"arch override":        {"kubernetes.io/arch", "wasm32-wagi", ""},
		"role":                 {"node-role.kubernetes.io/edge", "", "a node may not give itself this label"},
		"k8s.io":               {"app.k8s.io/name", "a", "a node may not give itself this label"},
		"kubernetes.io itself": {"kubernetes.io/cluster", "a", "a node may not give itself this label"},
		"only looks like it":   {"mykubernetes.io/cluster", "a", ""},
		"bad key":              {"a b", "a", "name part must consist of"},
		"bad value":            {"a", "b c", "nodeLabels[a]: Invalid value"},
	} {
		t.Run(name, func(t *testing.T) {
			errs := ValidateLabels(field.NewPath("nodeLabels"), map[string]string{tt.key: tt.value})
			switch {
			case tt.want == "" && len(errs) > 0:
				t.Error(errs)
			case tt.want != "" && (len(errs) != 1 || !strings.Contains(errs[0].Error(), tt.want)):
				t.Errorf("got %v, want %q", errs, tt.want)
			}
		})
	}
}

func TestParseTaint(t *testing.T) {
	for text, want := range map[string]corev1.Taint{
		"krustlet/arch=wasm32-wasi:NoExecute": {Key: "krustlet/arch", Value: "wasm32-wasi", Effect: corev1.TaintEffectNoExecute},
		"a:NoSchedule":                        {Key: "a", Effect: corev1.TaintEffectNoSchedule},
		"a=:PreferNoSchedule":                 {Key: "a", Effect: corev1.TaintEffectPreferNoSchedule},
	} {
		got, err := ParseTaint(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(text, diff)
		}
	}
	for text, want := range map[string]string{
		"a=b":             `want key=value:effect (got "a=b")`,
		"a=b:Never":       `Unsupported value: "Never"`,
		"=b:NoSchedule":   "key",
		"a=b c:NoExecute": "value",
		"":                "want key=value:effect",
	} {
		if _, err := ParseTaint(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
}

func FuzzParseTaint(f *testing.F) {
	for _, s := range []string{"a=b:NoSchedule", ":", "=:", "a:NoExecute:x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		taint, err := ParseTaint(s)
		if err != nil {
			return
		}
		again, err := ParseTaint(taint.ToString())
		if err != nil || again != taint {
			t.Errorf("%q: %+v is written %q, which reads %+v, %v", s, taint, taint.ToString(), again, err)
		}
	})
}

func TestTaintsMayNotRepeat(t *testing.T) {
	errs := ValidateTaints(field.NewPath("taints"), append(DefaultTaints(), corev1.Taint{Key: corev1.LabelArchStable, Effect: corev1.TaintEffectNoExecute}))
	if len(errs) != 1 || errs[0].Type != field.ErrorTypeDuplicate || errs[0].Field != "taints[2]" {
		t.Error(errs)
	}
}

func TestTaintsOfANewNode(t *testing.T) {
	config := goldenConfig()
	if diff := cmp.Diff(DefaultTaints(), config.initial().Spec.Taints); diff != "" {
		t.Error("nil:", diff)
	}
	config.Taints = []corev1.Taint{}
	if got := config.initial().Spec.Taints; len(got) != 0 {
		t.Error("empty:", got)
	}
}

func TestValidateReserved(t *testing.T) {
	errs := ValidateReserved(field.NewPath("reserved"), corev1.ResourceList{"cpu": quantity("-1"), "memory": quantity("1Gi"), "x": quantity("1")})
	if len(errs) != 2 || errs[0].Field != "reserved[cpu]" || errs[1].Type != field.ErrorTypeNotSupported {
		t.Error(errs)
	}
}
