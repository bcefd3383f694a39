// Package e2e tests the built program bin/devcluster, or the one DEVCLUSTER names, with bin/kubectl. The tests of one
// cluster share it, because a start takes seconds.
package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// inNetns says that the test runs in the network namespace that TestMain made.
const inNetns = "DEVCLUSTER_TEST_IN_NETNS"

// TestMain runs the tests in a network namespace of their own when it may: nothing they do is seen outside.
func TestMain(m *testing.M) {
	if os.Getuid() != 0 {
		os.Exit(m.Run())
	}
	if os.Getenv(inNetns) == "" {
		os.Exit(again())
	}
	if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "ip link set lo up: %v: %s\n", err, out)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func again() int {
	cmd := exec.Command(os.Args[0], os.Args[1:]...)
	cmd.Env = append(os.Environ(), inNetns+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return cmd.ProcessState.ExitCode()
}

// binary returns the path of a program that was built.
func binary(t *testing.T, name, env string) string {
	t.Helper()
	path := os.Getenv(env)
	if path == "" {
		path = filepath.Join("..", "..", "..", "bin", name)
	}
	path, err := filepath.Abs(path)
	if err == nil {
		_, err = os.Stat(path)
	}
	if err != nil {
		t.Fatalf("%v: build it with `make bin/%s` or say where it is with %s", err, name, env)
	}
	return path
}

// limit is what no command of a test may take, on the busiest machine.
const limit = 3 * time.Minute

// run runs a command and returns what it printed.
func run(t *testing.T, name string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), limit) // cleanups run commands too
	defer cancel()
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return out.String(), err
}

// devcluster runs the program.
func devcluster(t *testing.T, args ...string) (string, error) {
	t.Helper()
	return run(t, binary(t, "devcluster", "DEVCLUSTER"), args...)
}

// up starts a cluster and removes it at the end of the test.
func up(t *testing.T, dir string, args ...string) string {
	t.Helper()
	t.Cleanup(func() {
		if _, err := os.Stat(dir); err != nil {
			return
		}
		if out, err := devcluster(t, "down", "--dir", dir, "--purge"); err != nil {
			t.Errorf("down: %v: %s", err, out)
		}
	})
	return start(t, dir, args...)
}

// start starts a cluster, perhaps one that was before.
func start(t *testing.T, dir string, args ...string) string {
	t.Helper()
	out, err := devcluster(t, append([]string{"up", "--dir", dir}, args...)...)
	if err != nil {
		t.Fatalf("up: %v: %s", err, out)
	}
	return out
}

func down(t *testing.T, dir string, args ...string) {
	t.Helper()
	if out, err := devcluster(t, append([]string{"down", "--dir", dir}, args...)...); err != nil {
		t.Fatalf("down: %v: %s", err, out)
	}
}

// fails runs the program and checks that it fails and says so.
func fails(t *testing.T, says string, args ...string) {
	t.Helper()
	out, err := devcluster(t, args...)
	if err == nil || !strings.Contains(out, says) {
		t.Errorf("devcluster %s: %v: %s\nwant a failure that says %q", strings.Join(args, " "), err, out, says)
	}
}

// config reads a kubeconfig of a cluster.
func config(t *testing.T, dir, name string) *rest.Config {
	t.Helper()
	c, err := clientcmd.BuildConfigFromFlags("", filepath.Join(dir, name+".kubeconfig"))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func client(t *testing.T, c *rest.Config) kubernetes.Interface {
	t.Helper()
	k, err := kubernetes.NewForConfig(c)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// eventually calls f until it is content.
func eventually(t *testing.T, what string, f func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := f()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s: %v", what, err)
		}
	}
}
