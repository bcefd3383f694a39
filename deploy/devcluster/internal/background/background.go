package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Cluster is a control plane in the background.
type Cluster struct {
	// Dir holds everything: keys, data of etcd, kubeconfigs, log.
	Dir string
	// Netns is the network namespace it runs in; empty: the caller's.
	Netns string
}

// Addresses that exist inside a network namespace of ours and nowhere else.
const (
	// NodeCIDR are the addresses of nodes: the API server refuses nodes on loopback addresses.
	NodeCIDR = "10.99.0.0/24"
	// PodCIDR is what the controller manager hands out to nodes, ServiceCIDR what Services get.
	PodCIDR     = "10.244.0.0/16"
	ServiceCIDR = "10.96.0.0/16"
)

// running is what the file DIR/running.json says of the process.
type running struct {
	PID   int    `json:"pid"`
	Netns string `json:"netns,omitempty"`
}

// patience is how long a start may take on a busy machine, and a stop.
const patience = 3 * time.Minute

// Up starts the control plane and waits for it. One that runs already is left alone.
func (c Cluster) Up(ctx context.Context, out io.Writer) (err error) {
	if c.Dir, err = filepath.Abs(c.Dir); err != nil {
		return err
	}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return err
	}
	if r, ok := c.find(); ok {
		return fmt.Errorf("a control plane runs in %s already, process %d", c.Dir, r.PID)
	}
	if c.Netns != "" {
		if err := makeNetns(ctx, c.Netns); err != nil {
			return err
		}
	}
	_ = os.Remove(filepath.Join(c.Dir, readyFile))
	cmd, err := c.start()
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	if err := c.awaitReady(ctx, ended); err != nil {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		return err
	}
	fmt.Fprintf(out, "export KUBECONFIG=%s\n", filepath.Join(c.Dir, "admin.kubeconfig"))
	return nil
}

func (c Cluster) start() (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	args := []string{self, "serve", "--dir", c.Dir}
	if c.Netns != "" {
		args = append([]string{"ip", "netns", "exec", c.Netns}, args...)
	}
	log, err := os.Create(filepath.Join(c.Dir, "log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil { // ip netns exec replaces itself, so that the process is ours either way
		return nil, fmt.Errorf("start the control plane: %w", err)
	}
	data, err := json.Marshal(running{PID: cmd.Process.Pid, Netns: c.Netns})
	if err != nil {
		return nil, err
	}
	return cmd, os.WriteFile(filepath.Join(c.Dir, runningFile), data, 0o600)
}

const (
	runningFile = "running.json"
	readyFile   = "ready"
)

func (c Cluster) awaitReady(ctx context.Context, ended <-chan error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-ended:
			return fmt.Errorf("the control plane ended: %v; the end of its log:\n%s", err, c.tail())
		case <-ctx.Done():
			return fmt.Errorf("the control plane is not ready: %w; the end of its log:\n%s", ctx.Err(), c.tail())
		case <-tick.C:
			if _, err := os.Stat(filepath.Join(c.Dir, readyFile)); err == nil {
				return nil
			}
		}
	}
}

func (c Cluster) tail() string {
	b, _ := os.ReadFile(filepath.Join(c.Dir, "log"))
	return string(b[max(0, len(b)-4000):])
}

// find tells which process serves the directory.
func (c Cluster) find() (running, bool) {
	var r running
	data, err := os.ReadFile(filepath.Join(c.Dir, runningFile))
	if err != nil || json.Unmarshal(data, &r) != nil {
		return r, false
	}
	line, err := os.ReadFile(filepath.Join("/proc", fmt.Sprint(r.PID), "cmdline"))
	return r, err == nil && strings.Contains(string(line), c.Dir)
}

// Down stops the control plane and removes its network namespace.
func (c Cluster) Down(ctx context.Context, purge bool) (err error) {
	if c.Dir, err = filepath.Abs(c.Dir); err != nil {
		return err
	}
	r, ok := c.find()
	if ok {
		if err := c.end(ctx, r.PID); err != nil {
			return err
		}
	}
	_ = os.Remove(filepath.Join(c.Dir, runningFile))
	if r.Netns != "" {
		if out, err := exec.CommandContext(ctx, "ip", "netns", "delete", r.Netns).CombinedOutput(); err != nil {
			return fmt.Errorf("delete the network namespace %s: %w: %s", r.Netns, err, out)
		}
	}
	if !purge {
		return nil
	}
	if _, err := os.Stat(filepath.Join(c.Dir, "pki")); errors.Is(err, fs.ErrNotExist) && !ok {
		return fmt.Errorf("%s holds no control plane", c.Dir)
	}
	return os.RemoveAll(c.Dir)
}

// end asks the process to end, and insists.
func (c Cluster) end(ctx context.Context, pid int) error {
	p, err := os.FindProcess(pid)
	if err != nil {
		return err
	}
	_ = p.Signal(syscall.SIGTERM)
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	kill := time.NewTimer(20 * time.Second)
	defer kill.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, alive := c.find(); !alive {
			return nil
		}
		select {
		case <-tick.C:
		case <-kill.C:
			_ = p.Kill()
		case <-ctx.Done():
			return fmt.Errorf("process %d does not end: %w", pid, ctx.Err())
		}
	}
}

// makeNetns makes a network namespace in which every address of nodes, Pods and Services is local.
func makeNetns(ctx context.Context, name string) error {
	for _, args := range [][]string{
		{"netns", "add", name},
		{"-n", name, "link", "set", "lo", "up"},
		{"-n", name, "route", "add", "local", NodeCIDR, "dev", "lo"},
		{"-n", name, "route", "add", "local", PodCIDR, "dev", "lo"},
	} {
		if out, err := exec.CommandContext(ctx, "ip", args...).CombinedOutput(); err != nil {
			return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, out)
		}
	}
	return nil
}
