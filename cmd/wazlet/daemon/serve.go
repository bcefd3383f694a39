package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/wazlet/wazlet/actors/debug"
	"github.com/wazlet/wazlet/kube/server"
	"github.com/wazlet/wazlet/moduleactor/bundle"
	"github.com/wazlet/wazlet/moduleactor/logs"
)

// endpoint is the debug endpoint: a listener and the server on it.
type endpoint struct {
	net.Listener
	http *http.Server
}

// listen opens the debug endpoint before anything is started, so that a port in use ends the daemon at once.
func (d *daemon) listen(ctx context.Context) (*endpoint, error) {
	address := net.JoinHostPort(d.Config.Debug.Address, strconv.Itoa(d.Config.Debug.Port))
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("debug: %w", err)
	}
	handler, err := d.handler(l.Addr())
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return &endpoint{l, &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, ErrorLog: zap.NewStdLog(d.log.Logger)}}, nil
}

// handler serves the debug page and what a kubelet serves.
func (d *daemon) handler(address net.Addr) (http.Handler, error) {
	hosts := []string{d.Config.Debug.Address}
	page, err := debug.New(debug.Config{
		Recorder: d.recorder, Actors: d.system.Registry(), Counters: d.system.Counters, Pods: d.pods, Hosts: hosts,
		Node: d.Config.NodeName, Version: d.Version,
	})
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/debug/", page)
	mux.Handle("/debug", page)
	mux.Handle("/{$}", http.RedirectHandler("/debug/", http.StatusFound))
	mux.Handle("/", server.New(server.Handlers{
		Pods: d.pods, Logs: d.logs, Healthy: d.healthy, Ready: d.ready, Metrics: d.metrics, Stats: d.stats.Summary,
		ConfigZ: func() any { return d.current.Load() },
	}, func(next http.Handler) http.Handler { return debug.GuardHost(hosts, next) }))
	d.log.Info("debug endpoint", zap.String("url", "http://"+address.String()+"/debug/"))
	return mux, nil
}

// serve starts what runs beside the actors; all of it ends with ctx.
func (d *daemon) serve(ctx context.Context, services *sync.WaitGroup, e *endpoint) {
	services.Go(func() {
		if err := e.http.Serve(e.Listener); !errors.Is(err, http.ErrServerClosed) {
			d.die(fmt.Errorf("serve the debug endpoint: %w", err))
		}
	})
	services.Go(func() {
		<-ctx.Done()
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		if e.http.Shutdown(bounded) != nil {
			_ = e.http.Close()
		}
	})
	services.Go(func() { d.network.run(ctx, d.connect) })
	services.Go(func() { d.watchManifests(ctx) })
	services.Go(func() { d.watchConfig(ctx) })
	services.Go(func() { d.collectImages(ctx) })
}

// logs writes the log of an attempt. Following ends when the attempt does.
func (d *daemon) logs(ctx context.Context, r server.LogRequest, w io.Writer) error {
	pod := r.Pod
	file := logFile(d.Config.PodLogsDir, pod, r.Container, r.Attempt)
	o := logs.Options{
		Follow: r.Options.Follow, Tail: r.Options.TailLines, Timestamps: r.Options.Timestamps, LimitBytes: r.Options.LimitBytes,
	}
	switch {
	case r.Options.SinceTime != nil:
		o.SinceTime = *r.Options.SinceTime
	case r.Options.SinceSeconds != nil:
		o.SinceTime = time.Now().Add(-time.Duration(min(*r.Options.SinceSeconds, int64(math.MaxInt64/time.Second))) * time.Second)
	}
	var ended chan struct{}
	if o.Follow {
		ended = make(chan struct{})
		ctx, cancel := context.WithCancel(ctx)
		var watch sync.WaitGroup
		defer watch.Wait()
		defer cancel()
		watch.Go(func() {
			d.awaitEnd(ctx, bundle.ID{PodUID: string(pod.UID), Container: r.Container, Attempt: r.Attempt}, ended)
		})
	}
	err := logs.ReadLogs(ctx, file, o, ended, w, w)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("the log of attempt %d of container %q is gone", r.Attempt, r.Container)
	}
	return err
}

// awaitEnd closes ended when the attempt has ended; it gives up with ctx.
func (d *daemon) awaitEnd(ctx context.Context, id bundle.ID, ended chan<- struct{}) {
	if p, err := d.runtime.Adopt(ctx, id); err == nil {
		if _, err := p.Wait(ctx); err != nil {
			return
		}
	}
	close(ended)
}
