// Package image finds, downloads, verifies and stores wasm images of every format in use.
package image

import "time"

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
	// Ref is the reference as it was written, ID a digest reference (registry/repository@sha256:…) of its manifest.
	Ref, ID string
	// Module is the host path of the wasm module, Digest the sha256 of that file ("sha256:…"), Size the bytes of all
	// layers.
	Module, Digest string
	Size           int64
	// Name is the module's file name without directories, for argv[0] where nothing else is given.
	Name string
	// Rootfs is a host directory with the files of a tar image; it is shared, so copy it before a guest may write.
	// Empty for an artifact that is a bare module.
	Rootfs string
	// Entrypoint, Cmd, Env and WorkingDir are the image config's; empty for an artifact without one.
	Entrypoint, Cmd, Env []string
	WorkingDir           string
	// Present says that nothing had to be downloaded. Took is the time the whole pull took, Waited the part of it spent
	// waiting for a free slot.
	Present      bool
	Took, Waited time.Duration
}

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

// Error is why there is no image.
type Error struct {
	Reason Reason
	Err    error
}

func (e *Error) Error() string { return e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }
