// Package registry is `wazlet push`, `pull`, `inspect` and `image`: wasm modules between files, registries and the store
// of this node.
//
// What a script wants to read (an ID, a path, a list) goes to stdout, what a person wants to know to stderr.
package registry

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/wazlet/wazlet/cmd/wazlet/config"
	"github.com/wazlet/wazlet/moduleactor/image"
)

// Commands returns push, pull, inspect and image.
func Commands() []*cobra.Command {
	return []*cobra.Command{newPush(), newPull(), newInspect(), newImage()}
}

// Access are the flags that say how registries are reached.
type Access struct {
	insecure     []string
	caFiles      []string
	dockerConfig string
}

// Bind adds the flags to a command.
func (a *Access) Bind(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringSliceVar(&a.insecure, "insecure-registry", nil,
		"`HOST[:PORT]` that may be reached by plain HTTP or with an unknown certificate; can be repeated")
	f.StringSliceVar(&a.caFiles, "ca-file", nil, "PEM `FILE` of an authority trusted beside the system's; can be repeated")
	f.StringVar(&a.dockerConfig, "docker-config", "",
		"docker config.json `FILE` with credentials (default $DOCKER_CONFIG/config.json or ~/.docker/config.json, if there is one)")
}

// Config is what the flags say, with the user's own docker config where they name none.
func (a *Access) Config() image.Config {
	c := image.Config{InsecureRegistries: a.insecure, CAFiles: a.caFiles, DockerConfig: a.dockerConfig}
	if c.DockerConfig == "" {
		c.DockerConfig = usersDockerConfig()
	}
	return c
}

// usersDockerConfig is where docker login keeps credentials; empty when it does not.
func usersDockerConfig() string {
	dir := os.Getenv("DOCKER_CONFIG")
	if dir == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return ""
		}
		dir = filepath.Join(home, ".docker")
	}
	file := filepath.Join(dir, "config.json")
	if info, err := os.Stat(file); err != nil || !info.Mode().IsRegular() {
		return ""
	}
	return file
}

// client runs f with a client for registries, showing progress on a terminal.
func (a *Access) client(cmd *cobra.Command, f func(*image.Client) error) error {
	progress := newBar(cmd.ErrOrStderr())
	defer progress.finish()
	cfg := a.Config()
	cfg.Progress = progress.report()
	c, err := image.NewClient(cfg)
	if err != nil {
		return err
	}
	return errors.Join(f(c), c.Close())
}

// local is the flag that says where this node keeps its images.
type local struct{ rootDir string }

func (l *local) bind(cmd *cobra.Command, persistent bool) {
	f := cmd.Flags()
	if persistent {
		f = cmd.PersistentFlags()
	}
	f.StringVar(&l.rootDir, "root-dir", config.Default().RootDir, "state `DIRECTORY` of the node, as in wazlet run")
}

// dir is the store's directory, the same as the daemon's.
func (l *local) dir() string { return filepath.Join(l.rootDir, "images") }

// open opens the store of this node, which a running daemon may use at the same time.
func (l *local) open() (*image.Store, error) {
	s, err := image.Open(image.Config{Dir: l.dir()})
	if errors.Is(err, fs.ErrPermission) {
		return nil, fmt.Errorf("%w; run as the user that runs the node, or name another --root-dir", err)
	}
	return s, err
}

// with runs f with the store.
func (l *local) with(f func(*image.Store) error) error {
	s, err := l.open()
	if err != nil {
		return err
	}
	return errors.Join(f(s), s.Close())
}

// outputFlag is -o of commands that print a table or JSON.
func outputFlag(cmd *cobra.Command) *string {
	o := cmd.Flags().StringP("output", "o", "", "`FORMAT` of the output: json, or empty for text")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"json"}, cobra.ShellCompDirectiveNoFileComp))
	return o
}

func checkOutput(o string) error {
	if o != "" && o != "json" {
		return fmt.Errorf("--output: unknown format %q (allowed: json)", o)
	}
	return nil
}
