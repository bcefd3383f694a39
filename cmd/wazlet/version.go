package main

import (
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is set by the linker in releases; otherwise the build info knows.
var version string //nolint:gochecknoglobals // -ldflags -X can set nothing but a global

// Versions that the build info of this binary does not tell; a test compares them with go.mod.
const (
	// kubernetesVersion is the release of the Kubernetes API that wazlet speaks: that of the k8s.io modules.
	kubernetesVersion = "v1.36.3"
	// wazeroVersion is what wazlet-shim runs modules with; it is not linked into wazlet.
	wazeroVersion = "v1.12.0"
)

type versions struct {
	Version    string `json:"version"`
	Commit     string `json:"commit,omitempty"`
	Go         string `json:"go"`
	Wazero     string `json:"wazero"`
	Kubernetes string `json:"kubernetes"`
	Platform   string `json:"platform"`
}

func newVersion() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version of wazlet and of what it is made of",
		Args:  cobra.NoArgs,
	}
	output := cmd.Flags().StringP("output", "o", "", "json, or nothing for text")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return printVersions(cmd.OutOrStdout(), *output, theseVersions())
	}
	return cmd
}

func printVersions(w io.Writer, format string, v versions) error {
	switch format {
	case "":
		_, err := fmt.Fprintf(w, "wazlet %s\ngo %s\nwazero %s\nkubernetes %s\nplatform %s\n",
			v.Version, v.Go, v.Wazero, v.Kubernetes, v.Platform)
		return err
	case "json":
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(v)
	default:
		return fmt.Errorf("-o: must be json or absent (got %q)", format)
	}
}

func theseVersions() versions {
	v := versions{
		Version:    version,
		Go:         runtime.Version(),
		Wazero:     wazeroVersion,
		Kubernetes: kubernetesVersion,
		Platform:   runtime.GOOS + "/" + runtime.GOARCH,
	}
	info, ok := debug.ReadBuildInfo()
	if ok {
		v.fill(info)
	}
	if v.Version == "" {
		v.Version = "devel"
	}
	return v
}

func (v *versions) fill(info *debug.BuildInfo) {
	if v.Version == "" && info.Main.Version != "(devel)" {
		v.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			v.Commit = s.Value
		}
	}
}
