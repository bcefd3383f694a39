package background

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// netnsExists tells if there is a network namespace of the name. iproute2 keeps them here.
func netnsExists(name string) bool {
	_, err := os.Stat(filepath.Join("/run/netns", name))
	return err == nil
}

// makeNetns makes a network namespace in which every address of nodes and Pods is local, or completes one that exists.
func makeNetns(ctx context.Context, name string, local []string) error {
	var steps [][]string
	if !netnsExists(name) {
		steps = append(steps, []string{"netns", "add", name})
	}
	steps = append(steps, []string{"-n", name, "link", "set", "lo", "up"})
	for _, cidr := range local {
		steps = append(steps, []string{"-n", name, "route", "replace", "local", cidr, "dev", "lo"})
	}
	for _, args := range steps {
		if err := ip(ctx, args...); err != nil {
			return err
		}
	}
	return nil
}

func deleteNetns(ctx context.Context, name string) error {
	if name == "" || !netnsExists(name) {
		return nil
	}
	return ip(ctx, "netns", "delete", name)
}

func ip(ctx context.Context, args ...string) error {
	out, err := exec.CommandContext(ctx, "ip", args...).CombinedOutput()
	if errors.Is(err, exec.ErrNotFound) {
		return fmt.Errorf("a network namespace needs the program ip of iproute2: %w", err)
	}
	if err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
