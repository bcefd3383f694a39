package bundle

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"
)

// maxFileBytes bounds what is read of any file of a bundle; argv, environment and mounts of a container are far smaller.
const maxFileBytes = 4 << 20

// ParseSpec decodes spec.json strictly and validates it.
func ParseSpec(data []byte) (Spec, error) {
	var s Spec
	if err := decodeStrict(data, &s); err != nil {
		return Spec{}, err
	}
	if err := s.Validate(); err != nil {
		return Spec{}, err
	}
	return s, nil
}

// ReadSpec reads the spec of the attempt in dir. An error names the file; fs.ErrNotExist can be matched: there is none, or a
// power cut took what was in it, which is the same.
func ReadSpec(dir string) (Spec, error) {
	path := filepath.Join(dir, SpecFile)
	data, err := readBounded(path)
	if err != nil {
		return Spec{}, err
	}
	if len(data) == 0 {
		return Spec{}, fmt.Errorf("%s is empty: %w", path, fs.ErrNotExist)
	}
	s, err := ParseSpec(data)
	if err != nil {
		return Spec{}, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

// WriteSpec writes spec.json atomically; it refuses an invalid spec. A shim that has one guest makes it durable beside that,
// which would wait longer for the disk than for everything else: an attempt that a power cut leaves without a spec has
// hardly begun, and is begun again.
func WriteSpec(dir string, s Spec) error {
	if err := s.Validate(); err != nil {
		return fmt.Errorf("spec: %w", err)
	}
	if s.Shim != "" {
		return writeJSON(filepath.Join(dir, SpecFile), s)
	}
	return replaceJSON(filepath.Join(dir, SpecFile), s)
}

// Sum is a checksum of the spec. The file is in a directory to which the guest's process may write: who acts on it for the daemon, outside
// of that process's bounds, makes sure that it is still the daemon's.
func (s Spec) Sum() (string, error) {
	var read Spec // what is no UTF-8 is another text once it was written and read
	text, err := json.Marshal(s)
	if err == nil {
		err = json.Unmarshal(text, &read)
	}
	if err == nil {
		text, err = json.Marshal(read)
	}
	if err != nil {
		return "", fmt.Errorf("spec: %w", err)
	}
	sum := sha256.Sum256(text)
	return "sha256:" + hex.EncodeToString(sum[:]), nil
}

// ReadState reads what the shim wrote when the guest started. fs.ErrNotExist: it has not, or a power cut took it: an empty
// file is none.
func ReadState(dir string) (State, error) {
	path := filepath.Join(dir, StateFile)
	if info, err := os.Stat(path); err == nil && info.Size() == 0 {
		return State{}, fmt.Errorf("%s is empty: %w", path, fs.ErrNotExist)
	}
	return readJSON(dir, StateFile, (*State).validate)
}

// WriteState writes state.json atomically, but does not sync it: a guest waits for this.
func WriteState(dir string, s State) error {
	return replaceJSON(filepath.Join(dir, StateFile), s)
}

// syncFiles makes files of a bundle durable, in this order, that were written without.
func syncFiles(dir string, names ...string) error {
	for _, name := range names {
		f, err := os.Open(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			return err
		}
	}
	return nil
}

// ReadExit reads how the attempt ended. fs.ErrNotExist: it has not, or nobody has noticed yet.
func ReadExit(dir string) (Exit, error) { return readJSON(dir, ExitFile, (*Exit).validate) }

// WriteExit writes exit.json atomically. Only the holder of the attempt's lock may.
func WriteExit(dir string, e Exit) error { return writeJSON(filepath.Join(dir, ExitFile), e) }

func readJSON[T any](dir, name string, validate func(*T) error) (T, error) {
	var v T
	path := filepath.Join(dir, name)
	data, err := readBounded(path)
	if err != nil {
		return v, err
	}
	if err := errors.Join(decodeStrict(data, &v), validate(&v)); err != nil {
		var zero T
		return zero, fmt.Errorf("%s: %w", path, err)
	}
	return v, nil
}

func decodeStrict(data []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("decode: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("decode: more than one JSON value")
	}
	return nil
}

func readBounded(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxFileBytes {
		return nil, fmt.Errorf("%s: larger than %d bytes", path, maxFileBytes)
	}
	return data, nil
}

// writeJSON replaces path by temporary file, sync and rename, so that a reader sees all of it or nothing, also after a
// power cut.
func writeJSON(path string, v any) error { return encodeTo(path, v, writeFile) }

// replaceJSON is writeJSON without the sync, see replaceFile.
func replaceJSON(path string, v any) error { return encodeTo(path, v, replaceFile) }

func encodeTo(path string, v any, write func(path string, data []byte) error) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode %s: %w", path, err)
	}
	return write(path, append(data, '\n'))
}

func writeFile(path string, data []byte) error {
	if err := renameio.WriteFile(path, data, 0o600, renameio.WithTempDir(filepath.Dir(path)), renameio.IgnoreUmask()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// replaceFile is writeFile without the sync: a reader sees all of it or nothing, but after a power cut it may be empty.
func replaceFile(path string, data []byte) error {
	dir, name := filepath.Split(path)
	f, err := os.CreateTemp(dir, "."+name)
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}
