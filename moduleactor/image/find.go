package image

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"strings"
)

// findModule finds the module in the files of an image: what the entrypoint names or, when there is none, the only
// .wasm there is. The path it returns goes through no symbolic link.
func findModule(root *os.Root, c config) (string, error) {
	argv0 := c.argv0()
	if argv0 == "" {
		return onlyWasm(root)
	}
	tries := []string{argv0}
	if !path.IsAbs(argv0) {
		tries = []string{path.Join("/", c.Config.WorkingDir, argv0), "/" + argv0}
	}
	for _, t := range tries {
		p, err := resolve(root, t)
		if err != nil {
			continue
		}
		if info, err := root.Lstat(p); err == nil && info.Mode().IsRegular() {
			return p, nil
		}
	}
	return "", refuse("name a file of the image", "its entrypoint %q is not in it", clip(argv0, 100))
}

func onlyWasm(root *os.Root) (string, error) {
	var found []string
	err := fs.WalkDir(root.FS(), ".", func(p string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.Type().IsRegular() && path.Ext(p) == ".wasm" {
			found = append(found, p)
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	switch len(found) {
	case 0:
		return "", refuse(buildModule, "it has no entrypoint and no .wasm file")
	case 1:
		return found[0], nil
	default:
		return "", refuse("name one as its entrypoint, in exec form", "it has no entrypoint and %d .wasm files: %s",
			len(found), clip(strings.Join(found, ", "), 300))
	}
}

const maxLinks = 40

var errTooManyLinks = errors.New("too many symbolic links")

// resolve follows symbolic links as a program inside the image would, for which the image's root is "/". What it returns
// is relative to root and exists, but for its last part.
func resolve(root *os.Root, p string) (string, error) {
	todo := strings.Split(p, "/")
	done := "."
	for links := 0; len(todo) > 0; {
		part := todo[0]
		todo = todo[1:]
		next := path.Join(done, part)
		switch part {
		case "", ".":
			continue
		case "..":
			done = path.Dir(done)
			continue
		}
		info, err := root.Lstat(next)
		if err != nil {
			return "", err
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			done = next
			continue
		}
		if links++; links > maxLinks {
			return "", errTooManyLinks
		}
		target, err := root.Readlink(next)
		if err != nil {
			return "", err
		}
		if path.IsAbs(target) {
			done = "."
		}
		todo = append(strings.Split(target, "/"), todo...)
	}
	return done, nil
}
