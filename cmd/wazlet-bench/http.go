package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/wazlet/wazlet/moduleactor/bundle"
)

const (
	// httpClients is how many connections ask at a time, without pause.
	httpClients = 32
	// httpTime is how long each measurement takes, and httpRounds how many there are; the middle one is shown.
	httpTime   = 5 * time.Second
	httpRounds = 3
	// httpAddress is nobody else's.
	httpAddress = "127.93.7.1:8080"
)

// handlers measures HTTP handlers of both guests, with the access log written as ever. The clients are on the same CPUs.
func (t *tools) handlers(ctx context.Context) error {
	t.printf("\nHTTP handlers: requests of %d clients with keep-alive, on the same CPUs, each by an instance of its own\n", httpClients)
	t.printf("  %-16s %12s %12s %12s %14s\n", "", "requests/s", "p50", "p99", "shim's memory")
	for _, g := range t.handlerGuests {
		if err := t.handler(ctx, g); err != nil {
			return fmt.Errorf("HTTP handler, %s: %w", g.name, err)
		}
	}
	return nil
}

func (t *tools) handler(ctx context.Context, g guest) error {
	p, end, err := t.startHandler(ctx, g)
	if err != nil {
		return err
	}
	defer end()
	if _, err := generate(ctx, httpAddress, httpClients, time.Second); err != nil { // to warm up
		return err
	}
	var rounds []*load
	for range httpRounds {
		l, err := generate(ctx, httpAddress, httpClients, httpTime)
		if err != nil {
			return err
		}
		rounds = append(rounds, l)
	}
	l := middle(rounds)
	state, ok, err := p.Started(ctx)
	if err != nil || !ok {
		return fmt.Errorf("the shim has ended (%w)", err)
	}
	r, err := smaps(state.PID)
	if err != nil {
		return err
	}
	t.printf("  %-16s %12.0f %12s %12s %14s\n", g.name, l.rate(), quantile(l.latency, 0.5).Round(10*time.Microsecond),
		quantile(l.latency, 0.99).Round(10*time.Microsecond), mib(r.Pss))
	return nil
}

// startHandler runs a guest as the daemon does.
func (t *tools) startHandler(ctx context.Context, g guest) (*bundle.Process, func(), error) {
	root, err := filepath.EvalSymlinks(t.dir)
	if err != nil {
		return nil, nil, err
	}
	dir := filepath.Join(root, "handlers")
	module, err := os.ReadFile(g.file)
	if err != nil {
		return nil, nil, err
	}
	r, err := bundle.New(bundle.Config{Root: dir, Shim: t.shim, CacheDir: filepath.Join(dir, "cache")})
	if err != nil {
		return nil, nil, err
	}
	sum := digest.FromBytes(module).String()
	if err := r.Compile(ctx, g.file, sum, true); err != nil {
		return nil, nil, err
	}
	id := bundle.ID{PodUID: filepath.Base(g.file), Container: "main"}
	id.PodUID = id.PodUID[:len(id.PodUID)-len(filepath.Ext(id.PodUID))]
	attempt, err := bundle.Dir(dir, id)
	if err != nil {
		return nil, nil, err
	}
	rootfs := filepath.Join(attempt, bundle.RootfsDir)
	if err := os.MkdirAll(rootfs, 0o755); err != nil { //nolint:gosec // the guest's /
		return nil, nil, err
	}
	spec := bundle.Spec{
		Version: bundle.SpecVersion, PodUID: id.PodUID, Namespace: "default", Pod: "bench", Container: id.Container,
		ContainerID: bundle.NewContainerID(), ImageID: "bench", Module: g.file, CacheDir: filepath.Join(dir, "cache"),
		ModuleDigest: sum, Args: []string{g.name}, Rootfs: rootfs, Landlock: true,
		Log:       &bundle.Log{Path: filepath.Join(attempt, "logs", "0.log"), MaxBytes: 10 << 20, MaxFiles: 5},
		Handler:   &bundle.Handler{Protocol: bundle.HandlerCGI, Timeout: 30 * time.Second, MaxConcurrency: 32, MaxBodyBytes: 1 << 20},
		Listeners: []bundle.Listener{{Name: "http", Network: bundle.NetworkTCP, Address: netip.MustParseAddrPort(httpAddress)}},
	}
	p, err := r.Start(ctx, spec, bundle.Limits{})
	if err != nil {
		return nil, nil, err
	}
	end := func() {
		_ = p.Signal(true)
		_, _ = p.Wait(context.WithoutCancel(ctx))
		_ = r.Close()
	}
	if _, ok, err := p.Started(ctx); err != nil || !ok {
		exit, _ := p.Wait(ctx)
		end()
		return nil, nil, fmt.Errorf("it does not start (%w): %s", err, exit.Message)
	}
	return p, end, nil
}

// middle is the run with the middle rate.
func middle(runs []*load) *load {
	for _, l := range runs {
		less := 0
		for _, o := range runs {
			if o.rate() < l.rate() {
				less++
			}
		}
		if less == len(runs)/2 {
			return l
		}
	}
	return runs[0]
}
