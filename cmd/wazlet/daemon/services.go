package daemon

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"

	"github.com/wazlet/wazlet/cmd/wazlet/config"
	"github.com/wazlet/wazlet/kube/source"
	"github.com/wazlet/wazlet/moduleactor/bundle"
	"github.com/wazlet/wazlet/moduleactor/bundle/cgroup"
	"github.com/wazlet/wazlet/nodeactor"
)

// cgroups returns the hierarchy in which shims are limited, or nil, with a warning, where the daemon may not make one.
func (d *daemon) cgroups() bundle.Cgroups {
	h, err := cgroup.Open("wazlet")
	if err != nil {
		d.log.Warn("containers run without limits of CPU, and of memory beyond the guest's own", zap.Error(err))
		return nil
	}
	return h
}

// watchManifests tells the node actor which Pods are wanted.
func (d *daemon) watchManifests(ctx context.Context) {
	wanted := d.resync
	if d.cluster != nil {
		wanted = func(pods []*corev1.Pod) {
			d.cluster.merge.Static(pods)
			d.cluster.status.Statics(pods)
		}
	}
	if d.Config.ManifestDir == "" {
		wanted(nil)
		return
	}
	known, err := d.pods(ctx)
	if err != nil {
		return // the daemon is ending
	}
	err = source.New(source.Options{
		Dir: d.Config.ManifestDir, NodeName: d.Config.NodeName, Known: known,
		OnPods: func(pods []*corev1.Pod) {
			d.counted.static(pods)
			wanted(pods)
		},
		OnProblem: func(p source.Problem) { d.log.Error("manifest refused", zap.Error(p)) },
	}).Run(ctx)
	if err != nil {
		d.die(fmt.Errorf("watch manifestDir: %w", err))
	}
}

func (d *daemon) resync(pods []*corev1.Pod) {
	d.system.Root().Send(d.node, nodeactor.Resync{Pods: pods})
	d.syncedOnce.Do(func() { close(d.synced) })
}

// collectEvery is how often the file system of the images is looked at, as the kubelet does.
const collectEvery = 5 * time.Minute

// collectImages removes images that no Pod uses when the disk fills up.
func (d *daemon) collectImages(ctx context.Context) {
	gc := d.Config.Images.GC
	d.removeLeftovers()
	tick := time.NewTicker(collectEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case gc = <-d.gc:
		case <-tick.C:
			d.collect(ctx, gc)
		}
	}
}

// removeLeftovers tidies the cache of compiled modules, after the daemons before too.
func (d *daemon) removeLeftovers() {
	if err := d.runtime.RemoveLeftovers(); err != nil {
		d.log.Warn("tidy the cache of compiled modules", zap.Error(err))
	}
}

func (d *daemon) collect(ctx context.Context, gc config.ImageGC) {
	d.removeLeftovers()
	pods, err := d.pods(ctx)
	if err != nil {
		return // the daemon is ending
	}
	used := imagesOf(pods)
	done, err := d.images.Collect(ctx, func(digest string) bool {
		return slices.ContainsFunc(used, func(id string) bool { return strings.HasSuffix(id, digest) })
	}, gc.HighPercent, gc.LowPercent)
	if err != nil {
		d.log.Warn("collect images", zap.Error(err))
	}
	if len(done.Images) > 0 {
		d.counted.collected.WithLabelValues("space").Add(float64(len(done.Images)))
		d.log.Info("images collected", zap.Strings("image", done.Images), zap.Int64("bytes", done.Bytes))
	}
}

// imagesOf returns the image IDs that Pods use.
func imagesOf(pods []*corev1.Pod) []string {
	var ids []string
	for _, p := range pods {
		for _, s := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
			if s.ImageID != "" {
				ids = append(ids, s.ImageID)
			}
		}
	}
	return ids
}
