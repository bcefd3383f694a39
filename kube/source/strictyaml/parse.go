package strictyaml

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	yaml "go.yaml.in/yaml/v2"
)

// Document is one parsed document with the position of everything in it.
type Document struct {
	root *node
	line int
}

// node is a value of a document. A nil node is null.
type node struct {
	line    int
	scalar  any // string, bool, int, int64, uint64 or float64; nil for a mapping or a list
	mapping bool
	entries []entry
	list    bool
	items   []*node
}

type entry struct {
	name  string
	line  int
	value *node
}

// Parse splits data into its documents; empty ones (nothing but comments) are left out. A syntax error is a Problem
// about the whole input.
func Parse(data []byte) ([]*Document, []Problem) {
	if before, _, found := bytes.Cut(data, []byte{0}); found {
		return nil, []Problem{{Line: 1 + bytes.Count(before, []byte("\n")), Message: "not a text file: holds a NUL byte"}}
	}
	var docs []*Document
	dec := yaml.NewDecoder(bytes.NewReader(data))
	for {
		var root *node
		err := dec.Decode(&root)
		switch {
		case errors.Is(err, io.EOF):
			return docs, nil
		case err != nil:
			return nil, syntaxProblems(err)
		case root != nil:
			docs = append(docs, &Document{root: root, line: root.line})
		}
	}
}

// StartLine is the line of the document's first value.
func (d *Document) StartLine() int { return d.line }

var lineNumber = regexp.MustCompile(`^(?:yaml: )?(?:line (\d+): )?`) //nolint:gochecknoglobals // compiled once, never written

// lineOf reads the line out of a message of the YAML library, which offers it in no other way, and returns the rest.
func lineOf(message string) (int, string) {
	m := lineNumber.FindStringSubmatchIndex(message)
	if m[2] < 0 {
		return 0, message[m[1]:]
	}
	n, err := strconv.Atoi(message[m[2]:m[3]])
	if err != nil {
		return 0, message
	}
	return n, message[m[1]:]
}

func syntaxProblems(err error) []Problem {
	messages := []string{err.Error()}
	if te, ok := errors.AsType[*yaml.TypeError](err); ok {
		messages = te.Errors
	}
	var ps []Problem
	for _, m := range messages {
		line, text := lineOf(m)
		ps = append(ps, Problem{Line: line, Message: "not valid YAML: " + text})
	}
	return ps
}

// UnmarshalYAML makes node a yaml.Unmarshaler. Version 2 of the library, the one that Kubernetes reads YAML with, has no
// tree with positions, but tells the line in its type errors. So each value is first decoded into a type that fits
// nothing; never called for null.
func (n *node) UnmarshalYAML(unmarshal func(any) error) error {
	line, err := probeLine(unmarshal)
	if err != nil {
		return err
	}
	n.line = line

	var m map[key]*node
	if ok, err := fits(unmarshal(&m)); ok || err != nil {
		n.mapping = true
		n.entries = sortedEntries(m)
		return err
	}
	if ok, err := fits(unmarshal(&n.items)); ok || err != nil {
		n.list = true
		return err
	}
	n.items = nil
	if err := unmarshal(&n.scalar); err != nil {
		return err
	}
	return nil
}

// probeLine returns the line of the value that unmarshal decodes.
func probeLine(unmarshal func(any) error) (int, error) {
	var nothing chan int
	err := unmarshal(&nothing)
	te, ok := errors.AsType[*yaml.TypeError](err)
	if !ok || len(te.Errors) == 0 {
		return 0, err
	}
	line, _ := lineOf(te.Errors[0])
	return line, nil
}

// fits tells whether the value had the type it was decoded into. Other errors than that are returned.
func fits(err error) (bool, error) {
	if err == nil {
		return true, nil
	}
	if _, ok := errors.AsType[*yaml.TypeError](err); ok {
		return false, nil
	}
	return false, err
}

// key is a mapping's key. It holds a pointer, so that the same key given twice makes two entries.
type key struct{ *keyData }

type keyData struct {
	name string
	line int
}

// UnmarshalYAML makes key a yaml.Unmarshaler. As in Kubernetes, scalars of other types than string are keys too.
func (k *key) UnmarshalYAML(unmarshal func(any) error) error {
	line, err := probeLine(unmarshal)
	if err != nil {
		return err
	}
	var v any
	if err := unmarshal(&v); err != nil {
		return err
	}
	switch v.(type) {
	case string, bool, int, int64, uint64, float64:
		k.keyData = &keyData{name: fmt.Sprint(v), line: line}
		return nil
	}
	return fmt.Errorf("yaml: line %d: a key must be a string", line)
}

func sortedEntries(m map[key]*node) []entry {
	es := make([]entry, 0, len(m))
	for k, v := range m {
		e := entry{name: "null", value: v}
		if k.keyData != nil {
			e.name, e.line = k.name, k.line
		}
		es = append(es, e)
	}
	slices.SortFunc(es, func(a, b entry) int {
		return cmp.Or(cmp.Compare(a.line, b.line), cmp.Compare(a.name, b.name))
	})
	return es
}

// plain returns n as encoding/json would have decoded it.
func (n *node) plain() any {
	switch {
	case n == nil:
		return nil
	case n.mapping:
		m := make(map[string]any, len(n.entries))
		for _, e := range n.entries {
			m[e.name] = e.value.plain()
		}
		return m
	case n.list:
		l := make([]any, len(n.items))
		for i, it := range n.items {
			l[i] = it.plain()
		}
		return l
	}
	return n.scalar
}

// Line returns the line of the field at a path such as spec.containers[0].image, or, where there is none, of the
// nearest thing around it that there is.
func (d *Document) Line(path string) int {
	n, line := d.root, d.line
	for _, step := range steps(path) {
		next, at, ok := n.child(step)
		if !ok {
			return line
		}
		n, line = next, at
	}
	return line
}

// Get returns the value at a path as encoding/json would have decoded it, and whether there is one.
func (d *Document) Get(path string) (any, bool) {
	n := d.root
	for _, step := range steps(path) {
		next, _, ok := n.child(step)
		if !ok {
			return nil, false
		}
		n = next
	}
	return n.plain(), true
}

func (n *node) child(step string) (*node, int, bool) {
	if n == nil {
		return nil, 0, false
	}
	if n.list {
		i, err := strconv.Atoi(step)
		if err != nil || i < 0 || i >= len(n.items) {
			return nil, 0, false
		}
		if n.items[i] == nil {
			return nil, n.line, true
		}
		return n.items[i], n.items[i].line, true
	}
	for _, e := range n.entries {
		if e.name == step {
			return e.value, e.line, true
		}
	}
	return nil, 0, false
}

// steps splits a field path: "a.b[0][x.y]" is a, b, 0, x.y.
func steps(path string) []string {
	var out []string
	for path != "" {
		if rest, ok := strings.CutPrefix(path, "["); ok {
			in, after, _ := strings.Cut(rest, "]")
			out = append(out, in)
			path = strings.TrimPrefix(after, ".")
			continue
		}
		end := strings.IndexAny(path, ".[")
		if end < 0 {
			return append(out, path)
		}
		if end > 0 {
			out = append(out, path[:end])
		}
		path = strings.TrimPrefix(path[end:], ".")
	}
	return out
}

// Canonical returns the document as JSON in which nothing but its content shows: neither order of fields, nor layout,
// nor comments.
func (d *Document) Canonical() ([]byte, error) {
	return json.Marshal(d.root.plain())
}
