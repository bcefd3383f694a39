package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// Journalctl reads the journal of systemd by its program. It is a Journal.
type Journalctl struct {
	path  string
	slots chan struct{} // one for each process that runs
}

// maxJournals is how many processes read the journal at a time, whoever asks how often.
const maxJournals = 4

// NewJournalctl returns the journal that the program at path reads.
func NewJournalctl(path string) Journalctl { return Journalctl{path, make(chan struct{}, maxJournals)} }

// FindJournal returns the journal of this machine, nil when it has none.
func FindJournal() Journal {
	path, err := exec.LookPath("journalctl")
	if err != nil {
		return nil
	}
	return NewJournalctl(path)
}

// journalTime is a time that journalctl understands, whatever the time zone of the machine.
const journalTime = "2006-01-02 15:04:05 UTC"

// Units implements Journal.
func (j Journalctl) Units(ctx context.Context) ([]string, error) {
	var out strings.Builder
	if err := j.run(ctx, &out, "--field", "_SYSTEMD_UNIT"); err != nil {
		return nil, err
	}
	return strings.Fields(out.String()), nil
}

// Read implements Journal. What journalctl complains about is part of its answer, so that its exit code tells nothing more.
func (j Journalctl) Read(ctx context.Context, services []string, o JournalOptions, w io.Writer) error {
	err := j.run(ctx, w, o.arguments(services)...)
	if _, ended := errors.AsType[*exec.ExitError](err); ended && ctx.Err() == nil {
		return nil
	}
	return err
}

// arguments are the kubelet's. None of them can become an option of its own, whatever it is.
func (o JournalOptions) arguments(services []string) []string {
	args := []string{"--utc", "--no-pager", "--output=short-precise"}
	if o.Since != nil {
		args = append(args, "--since="+o.Since.UTC().Format(journalTime))
	}
	if o.Until != nil {
		args = append(args, "--until="+o.Until.UTC().Format(journalTime))
	}
	if o.Lines != nil {
		args = append(args, "--pager-end", "--lines="+strconv.Itoa(*o.Lines))
	}
	for _, s := range services {
		args = append(args, "--unit="+s)
	}
	if o.Pattern != "" {
		args = append(args, "--grep="+o.Pattern)
	}
	if o.Boot != nil {
		args = append(args, "--boot="+strconv.Itoa(*o.Boot))
	}
	return args
}

func (j Journalctl) run(ctx context.Context, w io.Writer, args ...string) error {
	select {
	case j.slots <- struct{}{}:
		defer func() { <-j.slots }()
	case <-ctx.Done():
		return ctx.Err()
	}
	c := exec.CommandContext(ctx, j.path, args...) //nolint:gosec // the arguments were checked, and no shell reads them
	c.Stdout, c.Stderr = w, w
	c.Env = []string{"PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8", "SYSTEMD_PAGER="}
	c.WaitDelay = time.Second
	if err := c.Run(); err != nil {
		return fmt.Errorf("run journalctl: %w", err)
	}
	return nil
}
