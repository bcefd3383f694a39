package main

import (
	"github.com/wazlet/wazlet/moduleactor/bundle"
	"github.com/wazlet/wazlet/moduleactor/engine"
)

// limit makes the spec's limits the guest's, but those of its memory and tables.
func limit(g *engine.Guest, l bundle.GuestLimits) {
	g.MaxFiles, g.OutputBytesPerSecond, g.MaxStack = l.OpenFiles, l.OutputBytesPerSecond, l.StackBytes
	g.DirectoryEntries, g.MaxSubscriptions = l.DirectoryEntries, l.PollSubscriptions
}

// memoryOf is the linear memory of a guest of the spec.
func memoryOf(spec bundle.Spec) *engine.Memory { return engine.NewMemory(spec.LinearMemory()) }

// sourceOf is the spec's module.
func sourceOf(spec bundle.Spec, m *module, metered bool) engine.Source {
	return engine.Source{
		Code: m.bytes, Digest: spec.ModuleDigest, CacheDir: spec.CacheDir, CacheReadOnly: true, Meter: metered,
		MaxTable: uint32(spec.GuestLimits.TableElements), // Validate has seen it
	}
}
