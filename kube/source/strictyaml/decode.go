package strictyaml

import (
	"cmp"
	"encoding"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	kjson "sigs.k8s.io/json"
)

// Decode stores the document in the struct that into points to, by the json tags of its type. Fields that the document
// does not give keep the value they have. When there are problems, into is left as it was.
func (d *Document) Decode(into any) []Problem {
	v := reflect.ValueOf(into)
	c := checker{}
	c.check(d.root, d.line, "", v.Type().Elem())
	if len(c.problems) > 0 {
		slices.SortStableFunc(c.problems, func(a, b Problem) int { return cmp.Compare(a.Line, b.Line) })
		return c.problems
	}
	data, err := json.Marshal(d.root.plain())
	if err == nil {
		// The check above has found what there is to find; strict errors could be duplicates only, which it also finds.
		_, err = kjson.UnmarshalStrict(data, into)
	}
	if err != nil {
		return []Problem{{Line: d.line, Message: err.Error()}}
	}
	return nil
}

// checker compares a tree of nodes with the Go type it is to be decoded into. encoding/json stops at the first value of
// a wrong type and knows its path only in part, so it is not asked before all is known to be well.
type checker struct{ problems []Problem }

func (c *checker) add(line int, path, format string, args ...any) {
	c.problems = append(c.problems, Problem{Line: line, Field: path, Message: fmt.Sprintf(format, args...)})
}

func (c *checker) check(n *node, line int, path string, t reflect.Type) {
	if n == nil {
		return // null is "not given"
	}
	if t.Kind() == reflect.Pointer {
		c.check(n, line, path, t.Elem())
		return
	}
	if decodesItself(t) {
		c.checkByDecoding(n, line, path, t)
		return
	}
	switch t.Kind() {
	case reflect.Struct:
		c.checkStruct(n, line, path, t)
	case reflect.Map:
		c.checkMap(n, line, path, t)
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			c.checkByDecoding(n, line, path, t)
			return
		}
		c.checkList(n, line, path, t)
	case reflect.Interface:
		c.checkFree(n, line, path)
	default:
		c.checkByDecoding(n, line, path, t)
	}
}

func (c *checker) checkStruct(n *node, line int, path string, t reflect.Type) {
	if !n.mapping {
		c.add(line, path, "must be a mapping (got %s)", n)
		return
	}
	c.duplicates(n, path)
	fields := fieldsOf(t)
	for _, e := range n.entries {
		at := dot(path, e.name)
		ft, ok := fields[e.name]
		if !ok {
			c.add(e.line, at, "unknown field%s", suggestion(e.name, fields))
			continue
		}
		c.check(e.value, e.line, at, ft)
	}
}

func (c *checker) checkMap(n *node, line int, path string, t reflect.Type) {
	if !n.mapping {
		c.add(line, path, "must be a mapping (got %s)", n)
		return
	}
	c.duplicates(n, path)
	for _, e := range n.entries {
		c.check(e.value, e.line, path+"["+e.name+"]", t.Elem())
	}
}

func (c *checker) checkList(n *node, line int, path string, t reflect.Type) {
	if !n.list {
		c.add(line, path, "must be a list (got %s)", n)
		return
	}
	for i, it := range n.items {
		at := line
		if it != nil {
			at = it.line
		} else if t.Elem().Kind() == reflect.Struct {
			c.add(line, path+"["+strconv.Itoa(i)+"]", "must be a mapping (got nothing)")
		}
		c.check(it, at, path+"["+strconv.Itoa(i)+"]", t.Elem())
	}
}

// checkFree looks at a value that may be of any shape.
func (c *checker) checkFree(n *node, line int, path string) {
	if n == nil {
		return
	}
	if f, ok := n.scalar.(float64); ok && (math.IsNaN(f) || math.IsInf(f, 0)) {
		c.add(line, path, "must be a finite number (got %v)", f)
	}
	c.duplicates(n, path)
	for _, e := range n.entries {
		c.checkFree(e.value, e.line, dot(path, e.name))
	}
	for i, it := range n.items {
		c.checkFree(it, n.line, path+"["+strconv.Itoa(i)+"]")
	}
}

func (c *checker) duplicates(n *node, path string) {
	first := map[string]int{}
	for _, e := range n.entries {
		if line, ok := first[e.name]; ok {
			c.add(e.line, dot(path, e.name), "is given twice; first in line %d", line)
			continue
		}
		first[e.name] = e.line
	}
}

// checkByDecoding tries whether the type takes the value.
func (c *checker) checkByDecoding(n *node, line int, path string, t reflect.Type) {
	data, err := json.Marshal(n.plain())
	if err == nil {
		err = json.Unmarshal(data, reflect.New(t).Interface())
	}
	if err != nil {
		c.add(line, path, "must be %s (got %s)", wanted(t, n), n)
	}
}

func wanted(t reflect.Type, n *node) string {
	switch reflect.New(t).Interface().(type) {
	case *metav1.Duration:
		return "a duration such as 10s, 5m or 1h30m"
	case *metav1.Time, *metav1.MicroTime:
		return "a time such as 2006-01-02T15:04:05Z"
	case *resource.Quantity:
		return "a quantity such as 64Mi or 500m"
	case *intstr.IntOrString:
		return "an integer or a string"
	}
	switch t.Kind() {
	case reflect.String:
		if n.scalar != nil {
			return "a string; put it in quotes"
		}
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.Slice:
		return "text in base64"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return fmt.Sprintf("an integer of at most %d bits", t.Bits())
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return fmt.Sprintf("an integer of at most %d bits that is not negative", t.Bits())
	default:
		return "a value of type " + t.Name()
	}
}

// String is how a value is named in a message: itself when it is a scalar.
func (n *node) String() string {
	switch {
	case n == nil:
		return "nothing"
	case n.mapping:
		return "a mapping"
	case n.list:
		return "a list"
	}
	return quote(n.scalar)
}

func decodesItself(t reflect.Type) bool {
	p := reflect.PointerTo(t)
	return p.Implements(reflect.TypeFor[json.Unmarshaler]()) || p.Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

// fieldsOf maps the JSON names of a struct's fields, those of embedded structs included, to their types.
func fieldsOf(t reflect.Type) map[string]reflect.Type {
	out := map[string]reflect.Type{}
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && name == "":
			maps.Copy(out, fieldsOf(f.Type))
		case !f.IsExported() || name == "-":
		case name == "":
			out[f.Name] = f.Type
		default:
			out[name] = f.Type
		}
	}
	return out
}

func dot(path, name string) string {
	if len(name) > maxQuoted {
		name = strings.ToValidUTF8(name[:maxQuoted], "") + "…"
	}
	if path == "" {
		return name
	}
	return path + "." + name
}

// suggestion names the field that was probably meant, if one is near.
func suggestion(name string, fields map[string]reflect.Type) string {
	if len(name) > maxQuoted {
		return ""
	}
	best, distance := "", 3
	for f := range fields {
		d := editDistance(strings.ToLower(name), strings.ToLower(f))
		if d < distance || d == distance && f < best {
			best, distance = f, d
		}
	}
	if best == "" || distance >= len(name) {
		return ""
	}
	return "; did you mean " + best + "?"
}

// editDistance is Levenshtein's.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		prev := slices.Clone(row)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(prev[j]+1, row[j-1]+1, prev[j-1]+cost)
		}
	}
	return row[len(b)]
}
