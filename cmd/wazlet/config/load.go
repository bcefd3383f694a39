package config

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"github.com/wazlet/wazlet/kube/source/strictyaml"
)

// maxFile bounds the size of a configuration file.
const maxFile = 1 << 20

// Load reads, completes and validates the file at path. Its error joins every problem, each with file and line.
func Load(path string) (NodeConfiguration, error) {
	h := ThisHost()
	f, err := read(path, h)
	if err != nil {
		return NodeConfiguration{}, err
	}
	c := h.complete(f.config)
	return c, f.validate(c)
}

// file is a decoded file, not completed nor validated.
type file struct {
	path   string
	config NodeConfiguration
	doc    *strictyaml.Document
}

func read(path string, h Host) (*file, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	if st.Size() > maxFile {
		return nil, fmt.Errorf("read configuration: %s: a file of at most %d bytes is allowed (got %d)", path, maxFile, st.Size())
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	return decode(path, data, h)
}

func decode(path string, data []byte, h Host) (*file, error) {
	docs, problems := strictyaml.Parse(data)
	f := &file{path: path, config: h.base()}
	switch {
	case len(problems) > 0:
		return nil, f.join(problems)
	case len(docs) == 0:
		return nil, f.join([]strictyaml.Problem{{Message: "the file is empty; it must hold one " + Kind}})
	case len(docs) > 1:
		return nil, f.join([]strictyaml.Problem{{Line: docs[1].StartLine(), Message: "a second document; the file must hold one " + Kind}})
	}
	f.doc = docs[0]
	// What the file says of its own version is checked, not assumed.
	f.config.APIVersion, f.config.Kind = "", ""
	if problems := f.doc.Decode(&f.config); len(problems) > 0 {
		return nil, f.join(problems)
	}
	if f.config.Images.InsecureRegistries == nil {
		f.config.Images.InsecureRegistries = []string{}
	}
	return f, nil
}

// validate tells the problems of c, which is f with overrides, with the lines of the file.
func (f *file) validate(c NodeConfiguration) error {
	problems := c.problems()
	for i := range problems {
		problems[i].Line = f.doc.Line(problems[i].Field)
	}
	return f.join(problems)
}

// join makes one error of problems.
func (f *file) join(problems []strictyaml.Problem) error {
	errs := make([]error, len(problems))
	for i, p := range problems {
		where := f.path
		if p.Line > 0 {
			where += ":" + strconv.Itoa(p.Line)
		}
		errs[i] = fmt.Errorf("%s: %s", where, p.Text())
	}
	return errors.Join(errs...)
}
