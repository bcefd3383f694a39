package client

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
)

// defaultContainerAnnotation names the container that kubectl takes when none is given.
const defaultContainerAnnotation = "kubectl.kubernetes.io/default-container"

type logOptions struct {
	namespace, container         string
	follow, timestamps, previous bool
	tail                         int64
	since                        time.Duration
}

func newLogs(getenv func(string) string) *cobra.Command {
	var o logOptions
	cmd := &cobra.Command{
		Use:   "logs [NAMESPACE/]POD",
		Short: "Print the log of a container",
		Long: `Print the log of a container: what its module wrote to stdout and stderr.

The name of a static Pod ends in the name of its node; it may be left out where that is not ambiguous. Without -c the
log is that of the Pod's first container.`,
		Example: `  wazlet logs hello
  wazlet logs batch/job -c worker --tail 20 -f
  wazlet logs crash-loop -p`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fmt.Errorf("needs the name of one Pod (got %d arguments)", len(args))
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVarP(&o.namespace, "namespace", "n", "", "`NAMESPACE` of the Pod")
	f.StringVarP(&o.container, "container", "c", "", "`NAME` of the container")
	f.BoolVarP(&o.follow, "follow", "f", false, "go on with what is written from now on, until the container ends")
	f.Int64Var(&o.tail, "tail", -1, "only the last `N` lines; -1 prints all")
	f.DurationVar(&o.since, "since", 0, "only lines of the last `DURATION`, such as 5s, 2m or 3h")
	f.BoolVar(&o.timestamps, "timestamps", false, "begin each line with its time")
	f.BoolVarP(&o.previous, "previous", "p", false, "the log of the container's attempt before this one")
	connect := addEndpointFlag(cmd, getenv)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		n, err := connect()
		if err != nil {
			return err
		}
		err = n.logs(cmd.Context(), args[0], o, cmd.OutOrStdout(), cmd.ErrOrStderr())
		if o.follow {
			return unlessInterrupted(cmd.Context(), err)
		}
		return err
	}
	return cmd
}

// query is what /containerLogs is asked.
func (o logOptions) query() (url.Values, error) {
	q := url.Values{}
	if o.tail < -1 {
		return nil, fmt.Errorf("--tail: must be -1 or more (got %d)", o.tail)
	}
	if o.since < 0 {
		return nil, fmt.Errorf("--since: must not be negative (got %v)", o.since)
	}
	if o.tail >= 0 {
		q.Set("tailLines", strconv.FormatInt(o.tail, 10))
	}
	if o.since > 0 {
		// Whole seconds are what the API knows; less than one must not become none, which would be an error.
		q.Set("sinceSeconds", strconv.FormatInt(int64((o.since+time.Second-1)/time.Second), 10))
	}
	for name, set := range map[string]bool{"follow": o.follow, "timestamps": o.timestamps, "previous": o.previous} {
		if set {
			q.Set(name, "true")
		}
	}
	return q, nil
}

func (n *node) logs(ctx context.Context, name string, o logOptions, out, notes io.Writer) error {
	query, err := o.query()
	if err != nil {
		return err
	}
	pods, err := n.pods(ctx)
	if err != nil {
		return err
	}
	pod, note, err := findPod(pods, o.namespace, name)
	if err != nil {
		return err
	}
	container, choice, err := chooseContainer(pod, o.container)
	if err != nil {
		return err
	}
	for _, line := range []string{note, choice} {
		if line == "" {
			continue
		}
		if _, err := fmt.Fprintln(notes, line); err != nil {
			return err
		}
	}
	body, err := n.open(ctx, "/containerLogs/"+pod.Namespace+"/"+pod.Name+"/"+container, query)
	if err != nil {
		return err
	}
	defer body.Close() //nolint:errcheck // only read
	if _, err := io.Copy(out, body); err != nil {
		return fmt.Errorf("read the log: %w", err)
	}
	return nil
}

// chooseContainer returns the container to read the log of. The note says so where there were several to choose from.
func chooseContainer(p *corev1.Pod, want string) (name, note string, err error) {
	var mains, all []string
	for _, c := range p.Spec.Containers {
		mains, all = append(mains, c.Name), append(all, c.Name)
	}
	for _, c := range p.Spec.InitContainers {
		all = append(all, c.Name+" (init)")
	}
	for _, c := range p.Spec.EphemeralContainers {
		all = append(all, c.Name+" (ephemeral)")
	}
	has := func(name string) bool {
		return slices.ContainsFunc(all, func(s string) bool { s, _, _ = strings.Cut(s, " "); return s == name })
	}
	switch {
	case want != "" && !has(want):
		return "", "", fmt.Errorf("-c: must be a container of Pod %s, that is one of %s (got %q)", p.Name, strings.Join(all, ", "), want)
	case want != "":
		return want, "", nil
	case len(mains) == 0:
		return "", "", fmt.Errorf("the Pod %s has no containers", p.Name)
	}
	name = mains[0]
	if preferred := p.Annotations[defaultContainerAnnotation]; preferred != "" && has(preferred) {
		name = preferred
	}
	if len(all) > 1 {
		note = fmt.Sprintf("Defaulted container %q out of: %s", name, strings.Join(all, ", "))
	}
	return name, note, nil
}
