package moduleactor

import (
	"context"
	"time"

	"github.com/wazlet/wazlet/moduleactor/bundle"
	"github.com/wazlet/wazlet/moduleactor/image"
)

// Images is where a module actor gets images from; image.Store implements it.
type Images interface {
	// EnsureWith returns the image, downloading it as the policy says, with the credentials of the Pod. It blocks and obeys
	// ctx. An error is an *image.Error.
	EnsureWith(ctx context.Context, ref string, policy image.PullPolicy, keys image.Keys) (image.Image, error)
}

// Runtime runs bundles; a bundle.Runtime does, through FromBundle.
type Runtime interface {
	// Compile fills the compile cache for a module, in a process of its own. It blocks, bounded in number across the
	// node, and obeys ctx. An error that satisfies errors.As(*bundle.InvalidModule) is the module's fault.
	// Metered is for a shared shim and for a handler.
	Compile(ctx context.Context, module, digest string, metered bool) error
	// Start writes the attempt's bundle and starts its shim. It fails when the attempt already has a bundle.
	Start(ctx context.Context, spec bundle.Spec, limits bundle.Limits) (Process, error)
	// Adopt opens the bundle of an attempt that an earlier daemon started, alive or not.
	Adopt(ctx context.Context, id bundle.ID) (Process, error)
}

// Process is one attempt, running or ended. Its methods may be called from any goroutine.
type Process interface {
	// Started blocks until the guest's _start is entered or the attempt has ended; ok is false then.
	Started(ctx context.Context) (state bundle.State, ok bool, err error)
	// Wait blocks until the attempt has ended. Called again it returns the same. Giving up (ctx) does not end the guest.
	Wait(ctx context.Context) (bundle.Exit, error)
	// Signal sends SIGTERM, or SIGKILL when kill. To a process that has ended it does nothing.
	Signal(kill bool) error
	Spec() bundle.Spec
}

// Config is what every module actor of a node shares.
type Config struct {
	Images  Images
	Runtime Runtime
	// RootDir is the node's state directory; bundles are under RootDir/pods.
	RootDir string
	// CacheDir is where compiled modules are kept, as in bundle.Config; default RootDir/cache.
	CacheDir string
	// LogMaxBytes and LogMaxFiles bound each container's log.
	LogMaxBytes int64
	LogMaxFiles int
	// GuestLimits are every guest's.
	GuestLimits bundle.GuestLimits
	// CreateTimeout bounds everything between the pull and _start; default 2m.
	CreateTimeout time.Duration
}
