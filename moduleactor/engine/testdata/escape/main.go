// Command escape tries to leave its file system. It prints a line for each attack: its name and "done" or the error.
//
// Outside of its root are ../secret.txt and the directory ../outside with the files victim1, victim2 and the empty
// directory empty; inside are the links in -> ../secret.txt, abs -> secret.txt's absolute path, and, if the host made it,
// d -> ../outside.
package main

import (
	"fmt"
	"io"
	"os"
	"syscall"
	"time"
)

func main() {
	for _, a := range attacks() {
		text, err := a.do()
		if err == nil {
			fmt.Printf("%s: done %s\n", a.name, text)
		} else {
			fmt.Printf("%s: %v\n", a.name, err)
		}
	}
}

type attack struct {
	name string
	do   func() (string, error)
}

func read(path string) func() (string, error) {
	return func() (string, error) {
		b, err := os.ReadFile(path)
		return string(b), err
	}
}

func effect(err error) (string, error) { return "", err }

func attacks() []attack {
	return []attack{
		{"read through a relative link", read("/in")},
		{"read through an absolute link", read("/abs")},
		{"stat through a link", func() (string, error) { _, err := os.Stat("/in"); return effect(err) }},
		{"truncate through a link", func() (string, error) {
			f, err := os.OpenFile("/abs2", os.O_RDWR|os.O_TRUNC, 0)
			if err != nil {
				return "", err
			}
			return effect(f.Close())
		}},
		{"set times through a link", func() (string, error) { return effect(os.Chtimes("/in", time.Unix(1, 0), time.Unix(2, 0))) }},
		{"read through dot dot", func() (string, error) {
			fd, err := syscall.Open("/d/../../secret.txt", syscall.O_RDONLY, 0)
			if err != nil {
				return "", err
			}
			b, err := io.ReadAll(os.NewFile(uintptr(fd), "secret"))
			return string(b), err
		}},
		{"make a link to a file", func() (string, error) { return effect(os.Symlink("../secret.txt", "/l")) }},
		{"read through the link made", read("/l")},
		{"make a link to a directory", func() (string, error) { return effect(os.Symlink("../outside", "/made")) }},
		{"read through the directory link made", read("/made/victim1")},
		{"list through a directory link", func() (string, error) { _, err := os.ReadDir("/d"); return effect(err) }},
		{"create through a directory link", func() (string, error) { return effect(os.WriteFile("/d/planted", nil, 0o600)) }},
		{"create through the directory link made", func() (string, error) { return effect(os.WriteFile("/made/planted2", nil, 0o600)) }},
		{"make a directory outside", func() (string, error) { return effect(os.Mkdir("/d/newdir", 0o700)) }},
		{"make a link outside", func() (string, error) { return effect(os.Symlink("x", "/d/newlink")) }},
		{"rename in", func() (string, error) { return effect(os.Rename("/d/victim1", "/stolen")) }},
		{"rename out", func() (string, error) {
			if err := os.WriteFile("/mine", nil, 0o600); err != nil {
				return "", err
			}
			return effect(os.Rename("/mine", "/d/mine"))
		}},
		{"hard link in", func() (string, error) { return effect(os.Link("/d/victim2", "/hard")) }},
		{"hard link to what a link names", func() (string, error) {
			if err := os.Link("/in", "/hard2"); err != nil {
				return "", err
			}
			b, err := os.ReadFile("/hard2")
			return string(b), err
		}},
		{"remove a file outside", func() (string, error) { return effect(syscall.Unlink("/d/victim2")) }},
		{"remove a directory outside", func() (string, error) { return effect(syscall.Rmdir("/d/empty")) }},
		{"create through a dangling link", func() (string, error) {
			if err := os.Symlink("../planted3", "/dangling"); err != nil {
				return "", err
			}
			return effect(os.WriteFile("/dangling", nil, 0o600))
		}},
		{"make an absolute link", func() (string, error) {
			if err := os.Symlink("/etc/passwd", "/passwd"); err != nil {
				return "", err
			}
			return read("/passwd")()
		}},
	}
}
