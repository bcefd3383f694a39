package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
)

const (
	// idlePods is how many Pods of each server are left alone.
	idlePods = 20
	// silentAddress is in the network that a standalone node gives addresses from, which guests may reach by policy; it is
	// one that no Pod is given.
	silentAddress = "127.88.0.1:9090"
)

// waiter is a guest that waits for the network, with what its Pod and its container say.
type waiter struct{ name, module, container, annotations string }

func waiters() []waiter {
	return []waiter{
		{"Go net/http server", "http", "ports: [{name: http, containerPort: 8080}]", "{}"},
		{
			"Go client, no answer", "http-client", "args: [-timeout, '0', 'http://" + silentAddress + "/']",
			"{wazlet.dev/allowed-egress: '" + silentAddress + "'}",
		},
		{"C echo server, UDP", "udp-echo", "ports: [{name: echo, containerPort: 7007, protocol: UDP}]", "{}"},
	}
}

// idleServers measures what guests take that wait for the network: nothing, and no thread of their own.
func (t *tools) idleServers(ctx context.Context, quick bool) error {
	pods := idlePods
	if quick {
		pods /= 10
	}
	silent, err := (&net.ListenConfig{}).Listen(ctx, "tcp", silentAddress)
	if err != nil {
		return err
	}
	defer func() { _ = silent.Close() }() // whose backlog takes connections that nobody answers
	t.printf("\nidle: %d Pods of each guest that waits for the network\n", pods)
	t.printf("  %-22s %-9s %12s %14s %8s\n", "", "isolation", "shims", "their threads", "CPU")
	for _, class := range []string{"", "wasm-shared"} {
		for _, g := range waiters() {
			if err := t.idleServer(ctx, g, class, pods); err != nil {
				return fmt.Errorf("idle %s: %w", g.name, err)
			}
		}
	}
	return nil
}

func (g waiter) manifest(name, image, class string) string {
	text := fmt.Sprintf("apiVersion: v1\nkind: Pod\nmetadata: {name: %s, annotations: %s}\nspec:\n", name, g.annotations)
	if class != "" {
		text += "  runtimeClassName: " + class + "\n"
	}
	return text + fmt.Sprintf("  containers:\n  - {name: main, image: %q, imagePullPolicy: Never, %s}\n", image, g.container)
}

func (t *tools) idleServer(ctx context.Context, g waiter, class string, pods int) error {
	isolation := "process"
	if class != "" {
		isolation = "shared"
	}
	n, err := t.startNode(ctx, "idle-"+g.module+"-"+isolation, "--max-pods", "100", "--log-level", "warn")
	if err != nil {
		return err
	}
	defer n.end()
	image := "localhost/bench/" + g.module + ":v1"
	if err := t.load(ctx, n.state(), filepath.Join(t.examples, g.module+".wasm"), image); err != nil {
		return err
	}
	for j := range pods {
		text := g.manifest(fmt.Sprintf("p%d", j), image, class)
		if err := os.WriteFile(filepath.Join(n.manifests, fmt.Sprintf("p%d.yaml", j)), []byte(text), 0o600); err != nil {
			return err
		}
	}
	if err := n.awaitRunning(ctx, pods); err != nil {
		return err
	}
	if err := pause(ctx, settleTime); err != nil {
		return err
	}
	before, _, err := n.family()
	if err != nil {
		return err
	}
	if err := pause(ctx, idleTime); err != nil {
		return err
	}
	after, _, err := n.family()
	if err != nil {
		return err
	}
	threads, shims, err := n.threads()
	if err != nil {
		return err
	}
	t.printf("  %-22s %-9s %12d %14d %6.2f %%\n", g.name, isolation, shims, threads, 100*(after.shims-before.shims)/idleTime.Seconds())
	return n.awaitRunning(ctx, pods) // none has ended meanwhile
}
