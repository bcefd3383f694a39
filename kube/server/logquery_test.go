package server_test

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wazlet/wazlet/kube/server"
)

// journalOf has some units and says what it is asked for.
type journalOf struct {
	units []string
	err   error
}

func (j journalOf) Units(context.Context) ([]string, error) { return j.units, j.err }

func (j journalOf) Read(_ context.Context, services []string, o server.JournalOptions, w io.Writer) error {
	_, err := fmt.Fprintf(w, "%v %s", services, o.Pattern)
	return err
}

// logDir has the logs of a node, and beside it what must not be seen.
func logDir(t *testing.T) string {
	t.Helper()
	top := t.TempDir()
	dir := filepath.Join(top, "log")
	for name, text := range map[string]string{
		"shadow": "secret", "log/plain": "plain text", "log/agent.log": "agent text", "log/deep/deep.log": "deep text", "log/pods/p/0.log": "hello",
	} {
		file := filepath.Join(top, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("../shadow", filepath.Join(dir, "linked.log")); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestLogQuery(t *testing.T) {
	h := server.New(server.Handlers{
		LogDir: logDir(t), LogQuery: true, Journal: journalOf{units: []string{"wazlet.service", "getty@tty1.service", "init.scope"}},
	})
	const options = "\noptions present and query resolved to log files for [plain]\ntry without specifying options\n"
	long := strings.Repeat("x", 257)
	for _, tc := range []struct {
		path string
		code int
		want string
	}{
		{"/logs/plain", 200, "plain text"}, // no query at all
		{"/logs/?query=wazlet", 200, "[wazlet] "},
		{"/logs/?query=wazlet.service&pattern=a.b", 200, "[wazlet.service] a.b"},
		{"/logs/?query=getty@tty1&query=init.scope", 200, "[getty@tty1 init.scope] "},
		{"/logs/?query=let", 200, "\nlog not found for let\n"}, // the end of a unit's name is not its name
		{"/logs/?query=plain", 200, "plain text"},
		{"/logs/?query=agent", 200, "agent text"},
		{"/logs/?query=deep", 200, "deep text"},
		{"/logs/?query=linked", 200, "\nlog not found for linked\n"},
		{"/logs/?query=..", 200, "\nlog not found for ..\n"},
		{"/logs/?query=wazlet&query=agent", 200, "[wazlet] agent text"},
		{"/logs/?query=plain&tailLines=3", 200, options},
		{"/logs/?query=/plain", 200, "plain text"},
		{"/logs/?query=pods/p/0.log", 200, "hello"},

		{"/logs/?query=", 400, `query: Invalid value: [""]: may not be empty`},
		{"/logs/?query=%20", 400, `query: Invalid value: [" "]: may not be empty`},
		{"/logs/?query=wazlet&sinceTime=now", 400, `sinceTime: Invalid value: "now": invalid time format`},
		{
			"/logs/?query=wazlet&boot=x&tailLines=y", 400,
			`[boot: Invalid value: "x": strconv.Atoi: parsing "x": invalid syntax, tailLines: Invalid value: "y": strconv.Atoi: parsing "y": invalid syntax]`,
		},
		{"/logs/plain?query=wazlet", 406, "path not allowed in query mode"},
		{"/logs/?tailLines=1", 406, "query: Required value: cannot be empty with options"},
		{"/logs/?query=wazlet&query=/plain", 406, `query: Invalid value: "[/plain], [wazlet]": cannot specify a file and service`},
		{"/logs/?query=/plain&query=/agent.log", 406, `query: Invalid value: ["/plain","/agent.log"]: cannot specify more than one file`},
		{"/logs/?query=/plain&boot=0", 406, `query: Invalid value: ["/plain"]: cannot specify file with options`},
		{"/logs/?query=/../shadow", 406, `query: Invalid value: ["/../shadow"]: open ../shadow: file does not exist`},
		{"/logs/?query=pods/../../shadow", 406, `query: Invalid value: ["pods/../../shadow"]: open pods/../../shadow: file does not exist`},
		{"/logs/?query=/linked.log", 406, `query: Invalid value: ["/linked.log"]: open linked.log: file does not exist`},
		{"/logs/?query=/", 406, `query: Invalid value: ["/"]: open : file does not exist`},
		{"/logs/?query=a%3Breboot", 406, `query: Invalid value: "a;reboot": input contains unsupported characters`},
		{"/logs/?query=" + long, 406, `query: Invalid value: "` + long + `": length must be less than 256`},
		{"/logs/?query=a&query=b&query=c&query=d&query=e", 406, "query: Too many: 5: must have at most 4 items"},
		{"/logs/?query=a&boot=1", 406, "boot: Invalid value: 1: must be less than 1"},
		{"/logs/?query=a&tailLines=-1", 406, "tailLines: Invalid value: -1: must be between 0 and 100000, inclusive"},
		{"/logs/?query=a&tailLines=100001", 406, "tailLines: Invalid value: 100001: must be between 0 and 100000, inclusive"},
		{"/logs/?query=a&pattern=(", 406, "pattern: Invalid value: \"(\": error parsing regexp: missing closing ): `(`"},
		{
			"/logs/?query=a&sinceTime=2026-01-02T00:00:00Z&untilTime=2026-01-01T00:00:00Z", 406,
			`untilTime: Invalid value: "2026-01-01T00:00:00Z": must be after ` + "`sinceTime`",
		},
	} {
		if w := get(h, tc.path); w.Code != tc.code || strings.TrimSuffix(w.Body.String(), "\n") != strings.TrimSuffix(tc.want, "\n") {
			t.Errorf("%s: %d %q\nwant %d %q", tc.path, w.Code, w.Body, tc.code, tc.want)
		}
	}
}

// Without leave, and without a journal, the same requests find files only.
func TestLogQueryWithoutJournal(t *testing.T) {
	dir := logDir(t)
	for name, h := range map[string]server.Handlers{
		"none":    {LogDir: dir, LogQuery: true},
		"stopped": {LogDir: dir, LogQuery: true, Journal: journalOf{err: errors.New("no journal files were opened")}},
	} {
		if w := get(server.New(h), "/logs/?query=agent"); w.Code != http.StatusOK || w.Body.String() != "agent text" {
			t.Errorf("journal %s: %d %q", name, w.Code, w.Body)
		}
	}
	off := server.New(server.Handlers{LogDir: dir, Journal: journalOf{units: []string{"wazlet.service"}}})
	if w := get(off, "/logs/?query=wazlet"); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `<a href="agent.log">`) {
		t.Errorf("queries are off: %d %q", w.Code, w.Body)
	}
	none := server.New(server.Handlers{NoNodeLogs: true})
	for _, path := range []string{"/logs/", "/logs/plain", "/logs/?query=wazlet"} {
		if w := get(none, path); w.Code != http.StatusMethodNotAllowed || w.Body.String() != "logs endpoint is disabled.\n" {
			t.Errorf("%s of a node that serves no logs: %d %q", path, w.Code, w.Body)
		}
	}
}

func TestLogQueryCompressed(t *testing.T) {
	n := serve(t, server.Auth{}, server.Handlers{LogDir: logDir(t), LogQuery: true, Journal: journalOf{units: []string{"wazlet.service"}}})
	r := request(t, http.MethodGet, n.url("/logs/?query=wazlet"))
	r.Header.Set("Accept-Encoding", "gzip")
	w, err := n.admin().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Body.Close()
	text, err := gzip.NewReader(w.Body)
	if err != nil {
		t.Fatalf("%v: %v", w.Header, err)
	}
	if got, err := io.ReadAll(text); err != nil || string(got) != "[wazlet] " {
		t.Errorf("%q, %v", got, err)
	}
}

// TestJournalctl has a script in place of journalctl.
func TestJournalctl(t *testing.T) {
	script := filepath.Join(t.TempDir(), "journalctl")
	const text = `#!/bin/sh
if [ "$1" = --field ]; then printf 'a.service\nb.scope\n'; exit; fi
for a; do echo "$a"; done
echo "PATH=$PATH" >&2
exit 3
`
	if err := os.WriteFile(script, []byte(text), 0o700); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	h := server.New(server.Handlers{LogDir: logDir(t), LogQuery: true, Journal: server.NewJournalctl(script)})
	q := url.Values{
		"query": {"a", "b.scope"}, "pattern": {"--x; reboot"}, "boot": {"-1"}, "tailLines": {"7"},
		"sinceTime": {"2026-01-02T03:04:05+02:00"}, "untilTime": {"2026-01-02T03:04:05Z"},
	}
	const want = `--utc
--no-pager
--output=short-precise
--since=2026-01-02 01:04:05 UTC
--until=2026-01-02 03:04:05 UTC
--pager-end
--lines=7
--unit=a
--unit=b.scope
--grep=--x; reboot
--boot=-1
PATH=/usr/bin:/bin
`
	if d := cmp.Diff(want, get(h, "/logs/?"+q.Encode()).Body.String()); d != "" {
		t.Errorf("what journalctl is asked (-want +got):\n%s", d)
	}
	gone := server.New(server.Handlers{LogDir: logDir(t), LogQuery: true, Journal: server.NewJournalctl(script + "-gone")})
	if w := get(gone, "/logs/?query=agent"); w.Body.String() != "agent text" {
		t.Errorf("without the program: %q", w.Body)
	}
}
