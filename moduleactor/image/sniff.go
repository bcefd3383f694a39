package image

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/wazlet/wazlet/moduleactor/engine/wasm"
)

// refusal says that an image was found and read but cannot be run here: what it is, and what to do about it. It is
// final: no other mirror and no retry changes it.
type refusal struct{ found, remedy string }

func (r *refusal) Error() string {
	if r.remedy == "" {
		return r.found
	}
	return r.found + "; " + r.remedy
}

func refuse(remedy, format string, args ...any) error {
	return &refusal{found: fmt.Sprintf(format, args...), remedy: remedy}
}

func isRefusal(err error) bool {
	var r *refusal
	return errors.As(err, &r)
}

const (
	buildModule = "build it as a WASI preview 1 module " +
		"(Rust: --target wasm32-wasip1, Go: GOOS=wasip1 GOARCH=wasm, TinyGo: -target=wasip1, C: --target=wasm32-wasi)"
	component = "a WebAssembly component (WASI preview 2)"
)

// sniff tells from a file's first bytes whether it is a core wasm module. An error is a refusal that names what it is.
func sniff(head []byte) error {
	switch wasm.Sniff(head) {
	case wasm.Core:
		return nil
	case wasm.Component:
		return refuse(buildModule, "it is %s, which this node does not run", component)
	case wasm.OtherVersion:
		if string(head[6:8]) == "\x01\x00" { // an older draft of the component model
			return refuse(buildModule, "it is %s, which this node does not run", component)
		}
		return refuse(buildModule, "it is wasm of the unknown version % x", head[4:8])
	default:
	}
	text := bytes.TrimLeft(head, " \t\r\n")
	switch {
	case len(head) == 0:
		return refuse(buildModule, "it is empty, not a wasm module")
	case bytes.HasPrefix(text, []byte("(module")), bytes.HasPrefix(text, []byte("(component")), bytes.HasPrefix(text, []byte(";;")):
		return refuse("compile it with wat2wasm", "it is WebAssembly text (.wat), which is not supported")
	case bytes.HasPrefix(head, []byte("\x7fELF")):
		return refuse(buildModule, "it is a native program (ELF), not a wasm module")
	case bytes.HasPrefix(head, []byte("#!")):
		return refuse(buildModule, "it is a script, not a wasm module")
	default:
		return refuse(buildModule, "it is not a wasm module: it begins with % x", head[:min(len(head), 8)])
	}
}

// sniffFile sniffs a file on disk.
func sniffFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // only read
	head := make([]byte, 64)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("read %s: %w", path, err)
	}
	return sniff(head[:n])
}
