package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wazlet/wazlet/kube/source"
)

func newGetPods(connect func() (*node, error)) *cobra.Command {
	v := &podViewer{now: time.Now}
	var watch, all bool
	cmd := &cobra.Command{
		Use:     "pods [[NAMESPACE/]NAME]",
		Aliases: []string{"pod", "po"},
		Short:   "Show the Pods of a node",
		Long: `Show the Pods of a node, those of all namespaces unless -n says otherwise.

The name of a static Pod ends in the name of its node; it may be left out where that is not ambiguous.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			n, err := connect()
			if err != nil {
				return err
			}
			if all && v.namespace != "" {
				return errors.New("-n and -A exclude each other")
			}
			if len(args) == 1 {
				v.name = args[0]
			}
			v.node, v.out, v.notes = n, cmd.OutOrStdout(), cmd.ErrOrStderr()
			v.table.w = v.out
			return n.view(cmd.Context(), v, watch)
		},
	}
	cmd.Flags().StringVarP(&v.namespace, "namespace", "n", "", "only Pods of this `NAMESPACE`")
	cmd.Flags().BoolVarP(&all, "all-namespaces", "A", false, "Pods of all namespaces; the default")
	cmd.Flags().VarP(&v.format, "output", "o", "more columns, or the objects")
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "go on and show what changes")
	return cmd
}

// podViewer is `get pods`.
type podViewer struct {
	node            *node
	namespace, name string
	format          format
	now             clock
	out, notes      io.Writer

	table table
	// shown is what was printed of each Pod, to print again only what has changed; nil before the first time.
	shown map[string]printed
	noted bool
}

// printed is a Pod as it was printed, and what tells whether it has changed since.
type printed struct {
	pod  corev1.Pod
	mark string
}

func (v *podViewer) show(ctx context.Context) error {
	pods, err := v.list(ctx)
	if err != nil {
		return err
	}
	changed := v.changed(pods)
	defer func() { v.remember(pods) }()
	switch {
	case v.format == formatTable || v.format == formatWide:
		return v.rows(changed)
	case v.shown != nil || v.name != "":
		for i := range changed {
			if err := printObject(v.out, v.format, typed(changed[i])); err != nil {
				return err
			}
		}
		return nil
	default:
		items := make([]corev1.Pod, 0, len(pods)) // never null
		for _, p := range pods {
			items = append(items, typed(p))
		}
		return printObject(v.out, v.format, corev1.PodList{
			TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "PodList"}, Items: items,
		})
	}
}

// typed gives a Pod the kind that it has on its own.
func typed(p corev1.Pod) corev1.Pod {
	p.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}
	return p
}

// list returns the Pods that are wanted, sorted as kubectl does.
func (v *podViewer) list(ctx context.Context) ([]corev1.Pod, error) {
	pods, err := v.node.pods(ctx)
	if err != nil {
		return nil, err
	}
	if v.name == "" {
		return slices.DeleteFunc(pods, func(p corev1.Pod) bool { return v.namespace != "" && p.Namespace != v.namespace }), nil
	}
	pod, note, err := findPod(pods, v.namespace, v.name)
	if err != nil && v.shown != nil {
		return nil, nil // it was there, and is gone
	}
	if err != nil {
		return nil, err
	}
	if note != "" && !v.noted {
		v.noted = true
		if _, err := fmt.Fprintln(v.notes, note); err != nil {
			return nil, err
		}
	}
	return []corev1.Pod{*pod}, nil
}

// changed returns the Pods that do not look as they did when they were printed; gone ones first, because another of the
// same name may have taken their place.
func (v *podViewer) changed(pods []corev1.Pod) []corev1.Pod {
	here := map[string]bool{}
	for i := range pods {
		here[podKey(&pods[i])] = true
	}
	var out []corev1.Pod
	for _, key := range sortedKeys(v.shown) {
		if here[key] {
			continue
		}
		p := v.shown[key].pod
		if p.DeletionTimestamp == nil {
			p.DeletionTimestamp = &metav1.Time{Time: v.now()}
		}
		out = append(out, p)
	}
	for _, p := range pods {
		if old, ok := v.shown[podKey(&p)]; !ok || old.mark != v.mark(&p) {
			out = append(out, p)
		}
	}
	return out
}

func (v *podViewer) remember(pods []corev1.Pod) {
	v.shown = make(map[string]printed, len(pods))
	for _, p := range pods {
		v.shown[podKey(&p)] = printed{p, v.mark(&p)}
	}
}

func podKey(p *corev1.Pod) string { return p.Namespace + "/" + p.Name + "/" + string(p.UID) }

// mark is equal for a Pod that would be printed the same way, ages aside.
func (v *podViewer) mark(p *corev1.Pod) string {
	if v.format == formatJSON || v.format == formatYAML {
		data, err := json.Marshal(p)
		if err != nil {
			return err.Error()
		}
		return string(data)
	}
	s := summarize(p)
	return fmt.Sprint(s.ready, s.total, s.status, s.restarts, p.Status.PodIP)
}

func (v *podViewer) rows(pods []corev1.Pod) error {
	if len(pods) == 0 {
		if v.shown == nil {
			_, err := fmt.Fprintln(v.notes, "No Pods found.")
			return err
		}
		return nil
	}
	header := []string{"NAMESPACE", "NAME", "READY", "STATUS", "RESTARTS", "AGE"}
	if v.format == formatWide {
		header = append(header, "IP", "NODE", "IMAGES")
	}
	rows := make([][]string, 0, len(pods))
	for i := range pods {
		rows = append(rows, v.row(&pods[i]))
	}
	return v.table.write(header, rows)
}

func (v *podViewer) row(p *corev1.Pod) []string {
	s, now := summarize(p), v.now()
	row := []string{
		p.Namespace, p.Name, strconv.Itoa(s.ready) + "/" + strconv.Itoa(s.total), s.status, s.restartsText(now), age(p, now),
	}
	if v.format != formatWide {
		return row
	}
	images := make([]string, 0, len(p.Spec.Containers))
	for _, c := range p.Spec.Containers {
		images = append(images, c.Image)
	}
	return append(row, orNone(p.Status.PodIP), orNone(p.Spec.NodeName), strings.Join(images, ","))
}

func orNone(s string) string {
	if s == "" {
		return "<none>"
	}
	return s
}

// pods asks the node for all its Pods, sorted by namespace and name.
func (n *node) pods(ctx context.Context) ([]corev1.Pod, error) {
	var list corev1.PodList
	if _, err := n.getJSON(ctx, "/pods", &list); err != nil {
		return nil, err
	}
	slices.SortFunc(list.Items, func(a, b corev1.Pod) int { return strings.Compare(podKey(&a), podKey(&b)) })
	return list.Items, nil
}

// findPod finds a Pod by NAME or NAMESPACE/NAME. Namespace, where given, is what -n says. A static Pod is also found by
// the name in its manifest. Without a namespace the default one comes first; the note says so when it was another.
func findPod(pods []corev1.Pod, namespace, name string) (pod *corev1.Pod, note string, err error) {
	full := name
	if ns, rest, ok := strings.Cut(name, "/"); ok {
		if namespace != "" && namespace != ns {
			return nil, "", fmt.Errorf("%s is not in namespace %s", name, namespace)
		}
		namespace, name = ns, rest
	}
	found := matches(pods, namespace, func(p *corev1.Pod) bool { return p.Name == name })
	if len(found) == 0 {
		found = matches(pods, namespace, func(p *corev1.Pod) bool { return p.Annotations[source.NameAnnotation] == name })
	}
	if namespace == "" && len(found) > 1 {
		if preferred := slices.DeleteFunc(slices.Clone(found), func(p *corev1.Pod) bool {
			return p.Namespace != metav1.NamespaceDefault
		}); len(preferred) > 0 {
			found = preferred
		}
	}
	switch {
	case len(found) == 0:
		return nil, "", fmt.Errorf("no Pod %q on this node; 'wazlet get pods' lists those that there are", full)
	case len(found) > 1:
		names := make([]string, 0, len(found))
		for _, p := range found {
			names = append(names, p.Namespace+"/"+p.Name)
		}
		return nil, "", fmt.Errorf("%q may be any of %s; say which", full, strings.Join(names, ", "))
	case namespace == "" && found[0].Namespace != metav1.NamespaceDefault:
		note = fmt.Sprintf("Pod %s is in namespace %s", found[0].Name, found[0].Namespace)
	}
	return found[0], note, nil
}

func matches(pods []corev1.Pod, namespace string, is func(*corev1.Pod) bool) []*corev1.Pod {
	var found []*corev1.Pod
	for i := range pods {
		if p := &pods[i]; (namespace == "" || p.Namespace == namespace) && is(p) {
			found = append(found, p)
		}
	}
	return found
}
