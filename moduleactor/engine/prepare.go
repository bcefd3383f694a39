package engine

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/wazlet/wazlet/moduleactor/engine/meter"
	"github.com/wazlet/wazlet/moduleactor/engine/wasm"
)

// DefaultMaxTable is how many elements the tables of a guest can have, of eight bytes each. No memory limit of wazero's
// counts them.
const DefaultMaxTable = 1 << 20

// mergeAbove is the number of data segments that are not worth a rewriting; those that C compilers make are fewer.
const mergeAbove = 64

func (s Source) options() meter.Options {
	o := meter.Options{MaxTable: s.MaxTable, MergeAbove: mergeAbove}
	if o.MaxTable == 0 {
		o.MaxTable = DefaultMaxTable
	}
	if s.Meter {
		o.Every, o.ExportStart = meter.DefaultEvery, true
	}
	return o
}

// prepared is the module that is compiled. Its bytes are needed until it is.
type prepared struct {
	code   []byte
	mapped []byte
}

func (p prepared) close() {
	if p.mapped != nil {
		_ = unix.Munmap(p.mapped)
	}
}

// prepare rewrites the module. Only caps of tables are so cheap that it is done each time; anything else is kept in dir,
// beside the compiled code, and read from there.
func (s Source) prepare(m *wasm.Module, dir string) (prepared, error) {
	o := s.options()
	if dir == "" || (!s.Meter && m.DataSegments <= mergeAbove) {
		return s.rewrite(o)
	}
	path := filepath.Join(dir, fmt.Sprintf("rewritten-%s-%d-%d", meter.Version, o.Every, o.MaxTable))
	if p, err := readKept(path); err == nil {
		return p, nil
	}
	p, err := s.rewrite(o)
	if err != nil {
		return p, err
	}
	if !s.CacheReadOnly {
		// The next start rewrites the module again if this fails; wazero tells of a cache that cannot be written.
		_ = keep(path, p.code)
	}
	return p, nil
}

func (s Source) rewrite(o meter.Options) (prepared, error) {
	code, err := meter.Rewrite(s.Code, o)
	if err != nil {
		return prepared{}, &InvalidModule{Text: err.Error()}
	}
	return prepared{code: code}, nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli) //nolint:gochecknoglobals // constant

const sumSize = 4

var errDamaged = errors.New("the kept module is damaged")

// readKept maps a file that keep wrote.
func readKept(path string) (prepared, error) {
	f, err := os.Open(path) //nolint:gosec // of the cache
	if err != nil {
		return prepared{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return prepared{}, err
	}
	if !info.Mode().IsRegular() || info.Size() < sumSize || info.Size() > 1<<32 {
		return prepared{}, errDamaged
	}
	b, err := unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_PRIVATE)
	if err != nil {
		return prepared{}, fmt.Errorf("map %s: %w", path, err)
	}
	code, sum := b[:len(b)-sumSize], binary.LittleEndian.Uint32(b[len(b)-sumSize:])
	if crc32.Checksum(code, castagnoli) != sum {
		_ = unix.Munmap(b)
		return prepared{}, errDamaged
	}
	return prepared{code: code, mapped: b}, nil
}

// keep writes a rewritten module so that a reader finds all of it or nothing; the checksum is for what a crash leaves.
func keep(path string, code []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".rewritten-*")
	if err != nil {
		return err
	}
	sum := binary.LittleEndian.AppendUint32(nil, crc32.Checksum(code, castagnoli))
	_, err1 := f.Write(code)
	_, err2 := f.Write(sum)
	if err := errors.Join(err1, err2, f.Close()); err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	if err := os.Rename(f.Name(), path); err != nil {
		if rm := os.Remove(f.Name()); !errors.Is(rm, fs.ErrNotExist) {
			err = errors.Join(err, rm)
		}
		return err
	}
	return nil
}
