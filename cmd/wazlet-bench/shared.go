package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"github.com/wazlet/wazlet/moduleactor/bundle"
)

// sharedStarts measures what a guest in a shared shim takes from the daemon's request, which writes the bundle, to the first
// line in its log, which is later than its first output. The shim runs already, as on any node with more than one Pod.
func (t *tools) sharedStarts(ctx context.Context, g guest, rounds int) (times []time.Duration, err error) {
	root, err := filepath.EvalSymlinks(t.dir)
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(root, "shared-"+strings.TrimSuffix(filepath.Base(g.file), ".wasm"))
	r, err := bundle.New(bundle.Config{Root: dir, Shim: t.shim, CacheDir: filepath.Join(dir, "cache")})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.Close(), endShims(dir)) }()
	module, err := os.ReadFile(g.file)
	if err != nil {
		return nil, err
	}
	sum := digest.FromBytes(module).String()
	// A shared shim may read modules nowhere but among the images.
	file := filepath.Join(dir, "images", "guest.wasm")
	if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, module, 0o600)); err != nil {
		return nil, err
	}
	if err := r.Compile(ctx, file, sum, true); err != nil {
		return nil, err
	}
	for i := range rounds + 1 { // the first round starts the shim
		took, err := startShared(ctx, r, dir, bundle.Spec{
			Version: bundle.SpecVersion, PodUID: fmt.Sprintf("bench-%d", i), Namespace: "default", Pod: "bench", Container: "main",
			ContainerID: bundle.NewContainerID(), ImageID: "bench", Module: file, CacheDir: filepath.Join(dir, "cache"),
			ModuleDigest: sum, Args: []string{g.name}, Landlock: true, Shim: "node",
		})
		if err != nil {
			return nil, err
		}
		if i > 0 {
			times = append(times, took)
		}
	}
	return times, nil
}

// startShared starts an attempt, waits for its first line and ends it.
func startShared(ctx context.Context, r *bundle.Runtime, root string, spec bundle.Spec) (time.Duration, error) {
	attempt, err := bundle.Dir(root, spec.ID())
	if err != nil {
		return 0, err
	}
	spec.Rootfs = filepath.Join(attempt, bundle.RootfsDir)
	logs := filepath.Join(root, "logs", spec.PodUID)
	for _, d := range []string{spec.Rootfs, logs} {
		if err := os.MkdirAll(d, 0o755); err != nil { //nolint:gosec // the guest's /, and logs that anybody collects
			return 0, err
		}
	}
	spec.Log = &bundle.Log{Path: filepath.Join(logs, "0.log"), MaxBytes: 10 << 20, MaxFiles: 5}
	watch, err := watchWrites(logs)
	if err != nil {
		return 0, err
	}
	defer func() { _ = watch.Close() }()
	begin := time.Now()
	p, err := r.Start(ctx, spec, bundle.Limits{})
	if err != nil {
		return 0, err
	}
	_, err = watch.Read(make([]byte, unix.SizeofInotifyEvent+unix.NAME_MAX+1))
	took := time.Since(begin)
	if err = errors.Join(err, p.Signal(true)); err != nil {
		return 0, err
	}
	if _, err := p.Wait(ctx); err != nil {
		return 0, err
	}
	text, err := os.ReadFile(spec.Log.Path)
	if err == nil && !strings.HasSuffix(string(text), " stdout F ready\n") {
		err = fmt.Errorf("its log is %q", text)
	}
	return took, err
}

// firstOutputWithin is far more than any guest takes.
const firstOutputWithin = 30 * time.Second

// watchWrites returns a file that can be read from once a file in the directory was written to.
func watchWrites(dir string) (*os.File, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "inotify")
	_, err = unix.InotifyAddWatch(fd, dir, unix.IN_MODIFY)
	return f, errors.Join(err, f.SetReadDeadline(time.Now().Add(firstOutputWithin)))
}
