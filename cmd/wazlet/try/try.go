// Package try is `wazlet try`: one module in the foreground, in the same shim and sandbox as on the node.
package try

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/wazlet/wazlet/cmd/wazlet/config"
	"github.com/wazlet/wazlet/cmd/wazlet/registry"
	"github.com/wazlet/wazlet/cmd/wazlet/shim"
	"github.com/wazlet/wazlet/moduleactor/bundle"
	"github.com/wazlet/wazlet/moduleactor/image"
)

// ExitError is a guest that ended with another exit code than 0; wazlet passes the code on.
type ExitError struct{ Exit bundle.Exit }

// Error is empty when the guest chose its exit code itself: then there is nothing to add to what it printed.
func (e *ExitError) Error() string {
	if e.Exit.Reason == bundle.Error {
		return ""
	}
	return fmt.Sprintf("the module ended with code %d (%s): %s", e.Exit.Code, e.Exit.Reason, e.Exit.Message)
}

// ExitCode is the guest's exit code.
func (e *ExitError) ExitCode() int { return int(e.Exit.Code) }

type options struct {
	registry.Access

	rootDir, shim, memory string
	env, mounts           []string
}

// Command returns `wazlet try`.
func Command() *cobra.Command {
	return (&options{rootDir: config.Default().RootDir}).command()
}

func (o *options) command() *cobra.Command {
	c := &cobra.Command{
		Use:   "try FILE|REF [flags] [-- ARGS...]",
		Short: "Run one module in the foreground, as the node would",
		Long: "Run a wasm file, or the module of an image, in the foreground: through the same shim, sandbox and file systems as on\n" +
			"the node. Standard input, output and error are the terminal's; the exit code is the module's.",
		Example: "  wazlet try hello.wasm -- --name world\n  wazlet try ghcr.io/example/tool:v1 --mount $PWD:/work --memory 64Mi -- /work/in.txt",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return o.run(c, args[0], args[1:])
		},
	}
	c.Flags().StringArrayVarP(&o.env, "env", "e", nil, "environment variable `NAME=VALUE`; NAME alone takes the value from here")
	c.Flags().StringArrayVar(&o.mounts, "mount", nil, "`HOST:GUEST[:ro]`: a directory or file of this machine in the guest")
	c.Flags().StringVar(&o.memory, "memory", "", "bound of the guest's linear memory, a Kubernetes `QUANTITY` such as 64Mi")
	c.Flags().StringVar(&o.rootDir, "root-dir", o.rootDir, "`DIR` of images and compiled modules")
	o.Bind(c)
	c.Flags().StringVar(&o.shim, "shim", "", "`PATH` of wazlet-shim (default: beside wazlet)")
	return c
}

func (o *options) run(c *cobra.Command, what string, args []string) error {
	shimPath, err := shim.Find(o.shim)
	if err != nil {
		return err
	}
	if o.rootDir, err = filepath.Abs(o.rootDir); err != nil { // the shim takes no other
		return fmt.Errorf("--root-dir: %w", err)
	}
	img, err := o.resolve(c.Context(), what)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "wazlet-try-")
	if err != nil {
		return err
	}
	defer func() { _ = bundle.RemoveTree(dir) }()
	spec, err := o.spec(img, dir, args)
	if err != nil {
		return err
	}
	if err := bundle.WriteSpec(dir, spec); err != nil {
		return err
	}
	if !bundle.Cached(spec.CacheDir, spec.ModuleDigest) {
		// The guest's process may not write there. If this fails that process does it for itself, and says what is wrong.
		_ = exec.CommandContext(c.Context(), shimPath, "compile", "--module", spec.Module, "--cache", spec.CacheDir).Run() //nolint:gosec // our own
	}
	if err := inForeground(c, shimPath, dir); err != nil {
		return err
	}
	exit, err := bundle.ReadExit(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &ExitError{bundle.Exit{Code: 137, Reason: bundle.Killed, Message: "the shim was killed"}}
	case err != nil:
		return err
	case exit.Code != 0:
		return &ExitError{exit}
	}
	return nil
}

// resolve finds the module: a file that exists, or else an image.
func (o *options) resolve(ctx context.Context, what string) (img image.Image, err error) {
	if st, err := os.Stat(what); err == nil && st.Mode().IsRegular() {
		return fromFile(what)
	} else if strings.HasSuffix(what, ".wasm") {
		return image.Image{}, fmt.Errorf("open %s: no such file", what)
	}
	cfg := o.Config()
	cfg.Dir = filepath.Join(o.rootDir, "images")
	store, err := image.Open(cfg)
	if err != nil {
		return image.Image{}, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	return store.Ensure(ctx, what, image.IfNotPresent)
}

func fromFile(name string) (image.Image, error) {
	file, err := filepath.Abs(name)
	if err != nil {
		return image.Image{}, err
	}
	f, err := os.Open(file)
	if err != nil {
		return image.Image{}, err
	}
	defer func() { _ = f.Close() }()
	d, err := digest.SHA256.FromReader(f)
	if err != nil {
		return image.Image{}, fmt.Errorf("read %s: %w", name, err)
	}
	return image.Image{Ref: name, ID: name, Module: file, Digest: d.String(), Name: filepath.Base(file)}, nil
}

func (o *options) spec(img image.Image, dir string, args []string) (bundle.Spec, error) {
	memory, err := o.memoryBytes()
	if err != nil {
		return bundle.Spec{}, err
	}
	mounts, err := o.parseMounts()
	if err != nil {
		return bundle.Spec{}, err
	}
	rootfs := img.Rootfs
	if rootfs == "" {
		rootfs = filepath.Join(dir, bundle.RootfsDir)
		if err := os.Mkdir(rootfs, 0o755); err != nil { //nolint:gosec // the guest's /
			return bundle.Spec{}, err
		}
	}
	if rootfs, err = filepath.EvalSymlinks(rootfs); err != nil {
		return bundle.Spec{}, err
	}
	cache := filepath.Join(o.rootDir, "cache")
	if err := os.MkdirAll(cache, 0o700); err != nil {
		return bundle.Spec{}, fmt.Errorf("create the compile cache: %w", err)
	}
	return bundle.Spec{
		Version: bundle.SpecVersion,
		PodUID:  "try", Namespace: "default", Pod: "try", Container: "try", ContainerID: bundle.NewContainerID(), ImageID: img.ID,
		Module: img.Module, ModuleDigest: img.Digest, CacheDir: cache,
		Args: argv(img, args), Env: append(img.Env, o.environment()...),
		Rootfs: rootfs, RootReadOnly: img.Rootfs != "", // an image's files are shared with the node
		Mounts: mounts, MemoryBytes: memory, Landlock: true,
	}, nil
}

// argv puts args behind the image's entrypoint, as Kubernetes does with a container's args.
func argv(img image.Image, args []string) []string {
	entrypoint := img.Entrypoint
	if len(entrypoint) == 0 {
		entrypoint = []string{img.Name}
	}
	if len(args) == 0 {
		args = img.Cmd
	}
	return append(append([]string{}, entrypoint...), args...)
}

func (o *options) environment() []string {
	env := make([]string, 0, len(o.env))
	for _, e := range o.env {
		if !strings.Contains(e, "=") {
			e += "=" + os.Getenv(e)
		}
		env = append(env, e)
	}
	return env
}

func (o *options) memoryBytes() (int64, error) {
	if o.memory == "" {
		return 0, nil
	}
	q, err := resource.ParseQuantity(o.memory)
	if err != nil || q.Sign() <= 0 {
		return 0, fmt.Errorf("--memory: must be a positive quantity such as 64Mi (got %s)", o.memory)
	}
	return q.Value(), nil
}

func (o *options) parseMounts() ([]bundle.Mount, error) {
	mounts := make([]bundle.Mount, 0, len(o.mounts))
	for _, m := range o.mounts {
		parts := strings.Split(m, ":")
		readOnly := len(parts) == 3 && parts[2] == "ro"
		if len(parts) < 2 || len(parts) > 3 || (len(parts) == 3 && !readOnly) || !path.IsAbs(parts[1]) {
			return nil, fmt.Errorf("--mount: must be HOST:GUEST or HOST:GUEST:ro with an absolute GUEST (got %s)", m)
		}
		host, err := filepath.Abs(parts[0])
		if err != nil {
			return nil, err
		}
		if host, err = filepath.EvalSymlinks(host); err != nil { // the shim follows no link
			return nil, fmt.Errorf("--mount: %w", err)
		}
		mounts = append(mounts, bundle.Mount{Host: host, Guest: path.Clean(parts[1]), ReadOnly: readOnly})
	}
	return mounts, nil
}

// inForeground runs the shim on the terminal. An interrupt ends the guest as the node would.
func inForeground(c *cobra.Command, shimPath, dir string) error {
	cmd := exec.Command(shimPath, "run", "--bundle", dir) //nolint:noctx // it is ended by signals, below
	cmd.Stdin, cmd.Stdout, cmd.Stderr = c.InOrStdin(), c.OutOrStdout(), c.ErrOrStderr()
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the shim: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for kill := syscall.SIGTERM; ; kill = syscall.SIGKILL { // a second interrupt does not ask
		select {
		case err := <-ended:
			var status *exec.ExitError
			if err != nil && !errors.As(err, &status) {
				return fmt.Errorf("run the shim: %w", err)
			}
			return nil // exit.json says how it ended
		case <-signals:
			_ = cmd.Process.Signal(kill)
		}
	}
}
