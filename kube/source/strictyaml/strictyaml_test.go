package strictyaml_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/yaml"

	"github.com/wazlet/wazlet/kube/source/strictyaml"
)

type inner struct {
	Every metav1.Duration `json:"every"`
	Ports []int32         `json:"ports"`
}

type thing struct {
	metav1.TypeMeta `json:",inline"`

	Name   string            `json:"name"`
	Count  int               `json:"count"`
	On     bool              `json:"enabled"`
	Ratio  float64           `json:"ratio"`
	Inner  *inner            `json:"inner"`
	Labels map[string]string `json:"labels"`
	List   []inner           `json:"list"`
	Free   any               `json:"free"`
	Data   []byte            `json:"data"`

	hidden int //nolint:unused // is there to be not found
}

func decode(t *testing.T, text string, into any) []string {
	t.Helper()
	docs, problems := strictyaml.Parse([]byte(text))
	if len(problems) == 0 {
		if len(docs) != 1 {
			t.Fatalf("got %d documents, want 1", len(docs))
		}
		problems = docs[0].Decode(into)
	}
	var out []string
	for _, p := range problems {
		out = append(out, p.Error())
	}
	return out
}

func TestDecodeValues(t *testing.T) {
	want := thing{
		TypeMeta: metav1.TypeMeta{Kind: "Thing"},
		Name:     "a b", Count: 3, On: true, Ratio: 0.5,
		Inner:  &inner{Ports: []int32{1, 2}},
		Labels: map[string]string{"x.y/z": "1"},
		List:   []inner{{}, {}},
		Free:   map[string]any{"k": []any{int64(1), "two", nil}},
		Data:   []byte("hi"),
	}
	want.Inner.Every.Duration = 90_000_000_000
	cases := map[string]string{
		"block": `
kind: Thing
name: a b
count: 3
enabled: yes
ratio: 0.5
inner: {every: 1m30s, ports: [1, 2]}
labels:
  x.y/z: "1"
list: [{}, {}]
free: {k: [1, two, null]}
data: aGk=
`,
		"json": "{\"kind\":\"Thing\",\t\"name\":\"a b\",\"count\":3,\"enabled\":true,\"ratio\":5e-1,\"inner\":{\"every\":\"1m30s\",\"ports\":[1,2]}," +
			`"labels":{"x.y/z":"1"},"list":[{},{}],"free":{"k":[1,"two",null]},"data":"aGk="}`,
	}
	for name, text := range cases {
		t.Run(name, func(t *testing.T) {
			var got thing
			if ps := decode(t, text, &got); ps != nil {
				t.Fatalf("problems: %q", ps)
			}
			if d := cmp.Diff(want, got, cmp.AllowUnexported(thing{})); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestDecodeKeepsWhatIsNotGiven(t *testing.T) {
	got := thing{Name: "kept", Inner: &inner{Ports: []int32{7}}, Count: 1}
	if ps := decode(t, "count: 2\ninner: {every: 1s}\nname: null\n", &got); ps != nil {
		t.Fatalf("problems: %q", ps)
	}
	if got.Name != "kept" || got.Count != 2 || got.Inner.Ports[0] != 7 || got.Inner.Every.Seconds() != 1 {
		t.Errorf("got %+v, inner %+v", got, got.Inner)
	}
}

func TestDecodeProblems(t *testing.T) {
	cases := map[string]struct {
		text string
		want []string
	}{
		"unknown field":               {"name: a\nnam: b\n", []string{"2: nam: unknown field; did you mean name?"}},
		"unknown, nothing near":       {"name: a\nfrobnicate: b\n", []string{"2: frobnicate: unknown field"}},
		"wrong case is unknown":       {"Name: a\n", []string{"1: Name: unknown field; did you mean name?"}},
		"unexported field is unknown": {"hidden: 1\n", []string{"1: hidden: unknown field"}},
		"all are reported": {
			"name: 1\ncount: x\ninner:\n  every: 10\n  ports:\n  - 1\n  - no\n  - 99999999999\nlist:\n- {every: 1s}\n- oops: 1\n",
			[]string{
				"1: name: must be a string; put it in quotes (got 1)",
				`2: count: must be an integer of at most 64 bits (got "x")`,
				"4: inner.every: must be a duration such as 10s, 5m or 1h30m (got 10)",
				"7: inner.ports[1]: must be an integer of at most 32 bits (got false)",
				"8: inner.ports[2]: must be an integer of at most 32 bits (got 99999999999)",
				"11: list[1].oops: unknown field",
			},
		},
		"given twice":               {"name: a\ncount: 1\nname: b\n", []string{"3: name: is given twice; first in line 1"}},
		"given twice in one line":   {"{name: a, name: b}\n", []string{"1: name: is given twice; first in line 1"}},
		"map key given twice":       {"labels:\n  a: b\n  a: c\n", []string{"3: labels.a: is given twice; first in line 2"}},
		"free key given twice":      {"free:\n  a: b\n  a: c\n", []string{"3: free.a: is given twice; first in line 2"}},
		"list for a mapping":        {"inner: []\n", []string{"1: inner: must be a mapping (got a list)"}},
		"scalar for the document":   {"hello\n", []string{`1: must be a mapping (got "hello")`}},
		"mapping for a list":        {"list: {}\n", []string{"1: list: must be a list (got a mapping)"}},
		"mapping for a string":      {"name: {a: b}\n", []string{"1: name: must be a string (got a mapping)"}},
		"list for a map":            {"labels: [a]\n", []string{"1: labels: must be a mapping (got a list)"}},
		"map value":                 {"labels:\n  a: 1\n", []string{"2: labels[a]: must be a string; put it in quotes (got 1)"}},
		"null item":                 {"list:\n- every: 1s\n-\n", []string{"1: list[1]: must be a mapping (got nothing)"}},
		"number for a bool":         {"enabled: 1\n", []string{"1: enabled: must be true or false (got 1)"}},
		"text for a number":         {"ratio: high\n", []string{`1: ratio: must be a number (got "high")`}},
		"not base64":                {"data: '!'\n", []string{`1: data: must be text in base64 (got "!")`}},
		"infinite":                  {"free: .inf\n", []string{"1: free: must be a finite number (got +Inf)"}},
		"infinite where typed":      {"ratio: .nan\n", []string{"1: ratio: must be a number (got NaN)"}},
		"syntax":                    {"name: a\nlist: [\n", []string{"2: not valid YAML: did not find expected node content"}},
		"tab":                       {"inner:\n\tevery: 1s\n", []string{"2: not valid YAML: found character that cannot start any token"}},
		"unknown anchor":            {"name: *x\n", []string{"not valid YAML: unknown anchor 'x' referenced"}},
		"anchor in itself":          {"free: &x [*x]\n", []string{"not valid YAML: anchor 'x' value contains itself"}},
		"key that is a list":        {"? [a]\n: b\n", []string{"1: not valid YAML: a key must be a string"}},
		"binary":                    {"name: a\x00b\n", []string{"1: not a text file: holds a NUL byte"}},
		"a long value is shortened": {"count: " + strings.Repeat("x", 500), []string{"1: count: must be an integer of at most 64 bits (got \"" + strings.Repeat("x", 120) + "…\")"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := thing{Name: "before"}
			ps := decode(t, tc.text, &got)
			if d := cmp.Diff(tc.want, ps); d != "" {
				t.Error(d)
			}
			if d := cmp.Diff(thing{Name: "before"}, got, cmp.AllowUnexported(thing{})); d != "" {
				t.Errorf("a document with problems changed the target: %s", d)
			}
		})
	}
}

func TestPodTypes(t *testing.T) {
	text := `apiVersion: v1
kind: Pod
spec:
  containers:
  - name: a
    resources:
      limits:
        memory: lots
        cpu: 0.5
    livenessProbe:
      httpGet:
        port: [1]
metadata:
  creationTimestamp: yesterday
`
	want := []string{
		`8: spec.containers[0].resources.limits[memory]: must be a quantity such as 64Mi or 500m (got "lots")`,
		"12: spec.containers[0].livenessProbe.httpGet.port: must be an integer or a string (got a list)",
		`14: metadata.creationTimestamp: must be a time such as 2006-01-02T15:04:05Z (got "yesterday")`,
	}
	if d := cmp.Diff(want, decode(t, text, &corev1.Pod{})); d != "" {
		t.Error(d)
	}
}

// A small file must not make a large tree.
func TestAliasBomb(t *testing.T) {
	var b strings.Builder
	b.WriteString("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n")
	for i := 1; i < 9; i++ {
		fmt.Fprintf(&b, "a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d, ", i-1), 10), ", "))
	}
	docs, ps := strictyaml.Parse([]byte(b.String()))
	if len(docs) > 0 || len(ps) != 1 || !strings.Contains(ps[0].Message, "excessive aliasing") {
		t.Errorf("got %d documents, %v", len(docs), ps)
	}
	deep := strings.Repeat("[", 1<<19)
	if docs, ps := strictyaml.Parse([]byte(deep)); len(docs) > 0 || len(ps) != 1 || !strings.Contains(ps[0].Message, "max depth") {
		t.Errorf("got %d documents, %v", len(docs), ps)
	}
}

func TestDocuments(t *testing.T) {
	docs, ps := strictyaml.Parse([]byte("# nothing\n---\n# still nothing\n---\na: 1\n---\n\nb: 2\n---\n"))
	if ps != nil {
		t.Fatal(ps)
	}
	var lines []int
	for _, d := range docs {
		lines = append(lines, d.StartLine())
	}
	if d := cmp.Diff([]int{5, 8}, lines); d != "" {
		t.Error(d)
	}
}

func TestLine(t *testing.T) {
	docs, _ := strictyaml.Parse([]byte("# one\na:\n  b:\n  - c: 1\n  - c: 2\n    d: 3\n  -\nl:\n  x.y/z: 1\n"))
	for path, want := range map[string]int{
		"": 2, "a": 2, "a.b": 3, "a.b[0]": 4, "a.b[0].c": 4, "a.b[1].d": 6, "a.b[1].missing.deep": 5,
		"a.b[7]": 3, "a.b[2].x": 4, "l[x.y/z]": 9, "zzz": 2, "a.b[x]": 3, "a.b[": 3, "..a": 2,
	} {
		if got := docs[0].Line(path); got != want {
			t.Errorf("Line(%q) = %d, want %d", path, got, want)
		}
	}
}

func TestFromField(t *testing.T) {
	p := field.NewPath("a").Child("b")
	for want, err := range map[string]*field.Error{
		"a.b: must be set":                       field.Required(p, ""),
		"a.b: must be set: every Pod has one":    field.Required(p, "every Pod has one"),
		`a.b: is given twice (got "x")`:          field.Duplicate(p, "x"),
		"a.b: may not be given":                  field.Forbidden(p, "may not be given"),
		`a.b: must be one of "x", "y" (got "z")`: field.NotSupported(p, "z", []string{"x", "y"}),
		`a.b: not found (got "v")`:               field.NotFound(p, "v"),
		"a.b: must be positive (got -1)":         field.Invalid(p, -1, "must be positive"),
		"a.b: must be longer (got 5s)":           field.Invalid(p, metav1.Duration{Duration: 5e9}.Duration, "must be longer"),
		"a.b: must be something (got nothing)":   field.Invalid(p, nil, "must be something"),
	} {
		if got := strictyaml.FromField(err).Error(); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

// What is decoded without a problem must be what Kubernetes' own reader makes of it.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		"kind: Thing\nname: a\ninner: {every: 1s, ports: [1]}\n", "{\"name\":\"a\"}", "a: &x 1\nb: *x\n", "<<: {name: a}\n",
		"free: [1, 1.5, yes, ~, 0x10, 1_000, 2001-01-01, !!str 1]\n", "---\nname: a\n---\nname: b\n", "labels: {1: a, true: b}\n",
		"data: !!binary aGk=\n", "enabled: on\n", "count: 010\n", "? name\n: a\n", "name: |\n  a\n  b\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		docs, problems := strictyaml.Parse(data)
		for _, p := range problems {
			if p.Message == "" {
				t.Fatalf("a problem without a message: %+v", p)
			}
		}
		if len(docs) != 1 || bytes.Contains(data, []byte("---")) || bytes.Contains(data, []byte("...")) {
			return // the other reader ends at the first document, be it empty
		}
		var got thing
		if ps := docs[0].Decode(&got); len(ps) > 0 {
			return
		}
		want := thing{}
		if err := yaml.UnmarshalStrict(data, &want); err != nil {
			return // it also refuses what is fine, such as numbers as keys of a merge
		}
		a, _ := json.Marshal(got)
		b, _ := json.Marshal(want)
		if string(a) != string(b) {
			t.Errorf("got  %s\nwant %s", a, b)
		}
	})
}
