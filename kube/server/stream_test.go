package server_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	utilexec "k8s.io/utils/exec"

	"github.com/wazlet/wazlet/kube/server"
)

// shell is an Exec that knows a few commands.
func shell(ctx context.Context, r server.ExecRequest) error {
	switch r.Command[0] {
	case "echo":
		_, err := fmt.Fprint(r.Stdout, strings.Join(r.Command[1:], "|"))
		return err
	case "cat":
		line, err := bufio.NewReader(r.Stdin).ReadString('\n')
		_, _ = fmt.Fprintf(r.Stdout, "%s/%s %s #%d: %s", r.Pod.Namespace, r.Container, r.ContainerID, r.Attempt, line)
		_, _ = fmt.Fprint(r.Stderr, "read")
		return err
	case "exit":
		return fmt.Errorf("run: %w", utilexec.CodeExitError{Err: errors.New("exit code 7"), Code: 7})
	case "panic":
		panic("deliberate")
	case "size":
		for range 2 {
			size := <-r.Resize
			_, _ = fmt.Fprintf(r.Stdout, "%dx%d;", size.Width, size.Height)
		}
		_, err := fmt.Fprintf(r.Stdout, "tty=%t stderr=%t", r.TTY, r.Stderr != nil)
		return err
	case "streams":
		_, err := fmt.Fprintf(r.Stdout, "in=%t err=%t tty=%t resize=%t", r.Stdin != nil, r.Stderr != nil, r.TTY, r.Resize != nil)
		return err
	case "wait":
		<-ctx.Done()
		return context.Cause(ctx)
	default:
		return fmt.Errorf("no such command: %s", r.Command[0])
	}
}

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestStreamRefusals(t *testing.T) {
	p := pod("ns", "p", statuses()...)
	p.UID = "u1"
	h := server.New(server.Handlers{
		Pods: listing(p), Exec: shell,
		Attach:      func(context.Context, server.AttachRequest) error { return nil },
		PortForward: func(context.Context, server.PortForwardRequest, io.ReadWriteCloser) error { return nil },
	})
	n := serve(t, server.Auth{}, server.Handlers{Pods: listing(p), Exec: shell})
	for _, tc := range []struct {
		path string
		code int
		body string
	}{
		{"/exec/ns/p/up?command=x", 400, "you must specify at least 1 of stdin, stdout, stderr\n"},
		{"/exec/ns/p/up?output=1", 400, "you must specify at least one command for the container\n"},
		{"/exec/ns/q/up?command=x&output=1", 404, "pod does not exist\n"},
		{"/exec/ns/p/u2/up?command=x&output=1", 404, "pod not found\n"},
		{"/exec/ns/p/u1/up?command=x&output=1", 400, "Upgrade request required\n"},
		{"/exec/ns/p/nobody?command=x&output=1", 404, "container not found (\"nobody\")\n"},
		{"/exec/ns/p/done?command=x&output=1", 500, "container \"done\" in pod \"p\" is not running\n"},
		{"/attach/ns/p/up", 400, "you must specify at least 1 of stdin, stdout, stderr\n"},
		{"/attach/ns/q/up?output=1", 404, "pod does not exist\n"},
		{"/attach/ns/p/pulling?output=1", 500, "container \"pulling\" in pod \"p\" is not running\n"},
		{"/portForward/ns/q", 404, "pod does not exist\n"},
		{"/portForward/ns/p/u2", 404, "pod not found\n"},
		{"/portForward/ns/p", 400, "Upgrade request required\n"},
	} {
		if w := get(h, tc.path); w.Code != tc.code || w.Body.String() != tc.body {
			t.Errorf("%s: %d %q, want %d %q", tc.path, w.Code, w.Body, tc.code, tc.body)
		}
	}
	if code, body := fetch(t, n.admin(), request(t, "POST", n.url("/attach/ns/p/up?output=1"))); code != http.StatusNotFound {
		t.Errorf("attach without its function: %d %q", code, body)
	}
}

func TestRun(t *testing.T) {
	n := serve(t, server.Auth{}, server.Handlers{
		Pods: listing(pod("ns", "p", statuses()...)),
		Exec: func(_ context.Context, r server.ExecRequest) error {
			_, _ = fmt.Fprintf(r.Stdout, "out %q in=%t;", r.Command, r.Stdin != nil)
			_, _ = fmt.Fprint(r.Stderr, "err")
			switch r.Command[0] {
			case "fail":
				return utilexec.CodeExitError{Err: errors.New("exit code 3"), Code: 3}
			case "break":
				return errors.New("no shim")
			}
			return nil
		},
	})
	type answer struct {
		Code int
		Body string
	}
	for path, want := range map[string]answer{
		"/run/ns/p/up?cmd=a+b":   {200, `out ["a" "b"] in=false;err`},
		"/run/ns/p/up?cmd=fail":  {500, "command 'fail' exited with 3: err\n"},
		"/run/ns/p/up?cmd=break": {500, "no shim\n"},
		"/run/ns/q/up?cmd=a":     {404, "pod does not exist\n"},
		"/run/ns/p/done?cmd=a":   {500, "container \"done\" in pod \"p\" is not running\n"},
	} {
		var got answer
		got.Code, got.Body = fetch(t, n.admin(), request(t, "POST", n.url(path)))
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", path, diff)
		}
	}
}
