package main

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/wazlet/wazlet/moduleactor/engine"
)

// module is a wasm file in memory, backed by the file: what was only read costs nothing private. The store's files are
// named by their content and never change in place.
type module struct{ bytes []byte }

func openModule(path string) (*module, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("module: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("module: %w", err)
	}
	switch {
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("module: %s is not a regular file", path)
	case info.Size() == 0:
		return nil, &engine.InvalidModule{Text: fmt.Sprintf("module: %s is empty", path)}
	case info.Size() > 4<<30:
		return nil, &engine.InvalidModule{Text: fmt.Sprintf("module: %s is larger than 4 GiB", path)}
	}
	code, err := unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_PRIVATE)
	if err != nil {
		return nil, fmt.Errorf("module: map %s: %w", path, err)
	}
	return &module{bytes: code}, nil
}

// forget lets the kernel take the pages back; they are read again from the file if needed.
func (m *module) forget() { _ = unix.Madvise(m.bytes, unix.MADV_DONTNEED) }
