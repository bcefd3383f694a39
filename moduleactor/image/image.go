// Package image finds, downloads, verifies and stores wasm images of every format in use.
//
// A Store is a directory in OCI image layout with two additions: what was found in each image, and its unpacked files.
//
//	oci-layout, index.json    the references, each with the descriptor of its manifest
//	blobs/sha256/HEX          manifests, configs, layers; immutable, verified before they get this name
//	images/HEX/               of the image whose manifest is HEX: record.json, used (its mtime), rootfs/
//	ingest/                   what is being made: HEX.part (downloads), unpack-*, trash-*; flock'ed by its maker
//	lock                      flock'ed by whoever changes index.json or deletes anything
//
// Everything appears under its final name by rename and complete, so a process may be killed at any line. A pull does not
// hold the lock while it downloads; when it adds its reference it looks, under the lock, whether all it needs is still
// there, and starts over when somebody deleted a part meanwhile.
package image

import (
	"fmt"
	"time"
)

// PullPolicy says when a registry is asked for an image; the words are Kubernetes'.
type PullPolicy string

// The three policies.
const (
	Always       PullPolicy = "Always"
	IfNotPresent PullPolicy = "IfNotPresent"
	Never        PullPolicy = "Never"
)

// Image is an image on this machine, ready to be run.
type Image struct {
	// Ref is the reference as it was written. ID is a digest reference (registry/repository@sha256:…) of what the
	// reference stood for: its manifest or, when it is there for several platforms, its index.
	Ref, ID string
	// Manifest is the digest of the manifest; Collect asks for it and for Digest.
	Manifest string
	// Module is the host path of the wasm module, Digest the sha256 of that file ("sha256:…"), Size the bytes of all
	// layers.
	Module, Digest string
	Size           int64
	// Format is how the module is packed, Platform the os/architecture of its config, if it has one.
	Format   Format
	Platform string
	// Name is the module's file name without directories, for argv[0] where nothing else is given.
	Name string
	// Rootfs is a host directory with the files of a tar image; it is shared, so copy it before a guest may write.
	// Empty for an artifact that is a bare module.
	Rootfs string
	// Entrypoint, Cmd, Env and WorkingDir are the image config's; empty for an artifact without one.
	Entrypoint, Cmd, Env []string
	WorkingDir           string
	// Signals is the label SignalsLabel of the image's config, or the annotation of its manifest; empty without.
	Signals string
	// Present says that no registry was asked. Took is the time the whole pull took, Waited the part of it spent
	// waiting for a free slot.
	Present      bool
	Took, Waited time.Duration
}

// SignalsLabel is how an image says whether its guest handles signals.
const SignalsLabel = "wazlet.dev/signals"

// Reason is the Kubernetes word for why there is no image; it is one of actors' waiting reasons.
type Reason string

// The reasons an Error may have.
const (
	ErrImagePull        Reason = "ErrImagePull"
	InvalidImageName    Reason = "InvalidImageName"
	ErrImageNeverPull   Reason = "ErrImageNeverPull"
	ImageInspectError   Reason = "ImageInspectError"
	RegistryUnavailable Reason = "RegistryUnavailable"
)

// Error is why there is no image. Its text is the kubelet's for the same thing, as a user finds it in a Pod's status.
type Error struct {
	Reason Reason
	Err    error
}

func (e *Error) Error() string { return e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

// sentence is an error whose text begins with a capital letter, as the kubelet's messages do.
func sentence(r Reason, format string, args ...any) *Error {
	return &Error{Reason: r, Err: fmt.Errorf(format, args...)}
}

// Format is how a module is packed.
type Format string

// The formats that are understood. Those but FormatFile and FormatImage are artifacts with one wasm layer.
const (
	FormatFile      Format = "file"              // a wasm file, not packed at all
	FormatCNCF      Format = "cncf"              // CNCF TAG Runtime's wasm artifact; what Push writes by default
	FormatWasmToOCI Format = "wasm-to-oci"       // what wasm-to-oci writes
	FormatBytecode  Format = "bytecode-alliance" // an image config with one wasm layer
	FormatImage     Format = "image"             // a container image with a .wasm in it
	FormatSolo      Format = "solo"              // what wasme and old wash write
	FormatORAS      Format = "oras"              // a bare file, as oras pushes it
)
