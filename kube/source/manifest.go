package source

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/wazlet/wazlet/kube/source/strictyaml"
)

// Annotations of a static Pod. The first three are the kubelet's.
const (
	SourceAnnotation = "kubernetes.io/config.source"
	HashAnnotation   = "kubernetes.io/config.hash"
	SeenAnnotation   = "kubernetes.io/config.seen"
	// mirrorAnnotation marks the copy of a static Pod in the API.
	mirrorAnnotation = "kubernetes.io/config.mirror"
	// NameAnnotation is the name in the manifest, without the node's.
	NameAnnotation = "wazlet.dev/manifest-name"
	// FileAnnotation is the path of the manifest.
	FileAnnotation = "wazlet.dev/manifest-file"
)

// FileSource is the value of SourceAnnotation for Pods from a directory.
const FileSource = "file"

// Decode makes a static Pod of node nodeName from the manifest data, which was read from file. When there are problems,
// there is no Pod. The annotation of when it was seen is left to the caller.
func Decode(file string, data []byte, nodeName string) (*corev1.Pod, []Problem) {
	docs, problems := strictyaml.Parse(data)
	switch {
	case len(problems) > 0:
		return nil, inFile(file, problems)
	case len(docs) == 0:
		return nil, []Problem{{File: file, Message: "holds no Pod"}}
	case len(docs) > 1:
		return nil, []Problem{{
			File: file, Line: docs[1].StartLine(),
			Message: "a second document: a manifest holds one Pod; move this one to a file of its own",
		}}
	}
	doc := docs[0]
	if problems := checkType(doc); len(problems) > 0 {
		return nil, inFile(file, problems)
	}
	pod := &corev1.Pod{}
	if problems := doc.Decode(pod); len(problems) > 0 {
		return nil, inFile(file, problems)
	}
	problems = check(pod, nodeName)
	for i := range problems {
		problems[i].Line = doc.Line(problems[i].Field)
	}
	if len(problems) > 0 {
		return nil, inFile(file, problems)
	}
	content, err := doc.Canonical()
	if err != nil {
		return nil, []Problem{{File: file, Message: "encode manifest: " + err.Error()}}
	}
	makeStatic(pod, uid(nodeName, file, content), nodeName)
	return pod, nil
}

// check applies the defaults and returns what is wrong with the Pod, the manifest's own rules first.
func check(pod *corev1.Pod, nodeName string) []strictyaml.Problem {
	errs := checkStatic(pod, nodeName)
	setDefaults(pod)
	errs = append(errs, validatePod(pod)...)
	if suffixed := staticName(pod.Name, nodeName); len(errs) == 0 && len(suffixed) > maxName {
		errs = append(errs, field.Invalid(field.NewPath("metadata", "name"), pod.Name,
			fmt.Sprintf("must be at most %d characters, so that there is room for the node's name", maxName-len(nodeName)-1)))
	}
	problems := make([]strictyaml.Problem, 0, len(errs))
	seen := map[string]bool{}
	for _, e := range errs {
		p := strictyaml.FromField(e)
		if !seen[p.Error()] {
			problems = append(problems, p)
		}
		seen[p.Error()] = true
	}
	return problems
}

// maxName is the longest name that an object may have.
const maxName = 253

// checkType looks at apiVersion and kind alone: of another kind every other field would be unknown, too.
func checkType(doc *strictyaml.Document) []strictyaml.Problem {
	version, _ := doc.Get("apiVersion")
	object, _ := doc.Get("kind")
	apiVersion, _ := version.(string)
	kind, _ := object.(string)
	var problems []strictyaml.Problem
	add := func(name, message string) {
		problems = append(problems, strictyaml.Problem{Line: doc.Line(name), Field: name, Message: message})
	}
	switch {
	case strings.HasSuffix(kind, "List"):
		add("kind", fmt.Sprintf("must be Pod: a manifest holds one Pod; move each to a file of its own (got %q)", kind))
		return problems
	case object == nil:
		add("kind", "must be Pod (got nothing)")
	case kind != "Pod":
		add("kind", fmt.Sprintf("must be Pod; a node without a cluster runs nothing else (got %q)", fmt.Sprint(object)))
	}
	switch {
	case version == nil:
		add("apiVersion", "must be v1 (got nothing)")
	case apiVersion != "v1":
		add("apiVersion", fmt.Sprintf("must be v1 (got %q)", fmt.Sprint(version)))
	}
	return problems
}

func inFile(file string, problems []strictyaml.Problem) []Problem {
	out := make([]Problem, 0, len(problems))
	for _, p := range problems {
		out = append(out, Problem{File: file, Line: p.Line, Field: p.Field, Message: p.Message})
	}
	return out
}

// uid identifies a Pod by where it runs, where it was found and what was written, not by what the defaults of this
// release make of it: an upgrade of wazlet must not replace every Pod.
func uid(nodeName, file string, content []byte) types.UID {
	h := sha256.New()
	fmt.Fprintf(h, "host:%d:%s\nfile:%d:%s\n", len(nodeName), nodeName, len(file), file)
	h.Write(content)
	return types.UID(hex.EncodeToString(h.Sum(nil)[:16]))
}

func staticName(name, nodeName string) string { return name + "-" + strings.ToLower(nodeName) }

// makeStatic turns a valid Pod into this node's static Pod, as the kubelet does.
func makeStatic(pod *corev1.Pod, id types.UID, nodeName string) {
	pod.ObjectMeta = metav1.ObjectMeta{
		Name:        staticName(pod.Name, nodeName),
		Namespace:   pod.Namespace,
		UID:         id,
		Labels:      pod.Labels,
		Annotations: pod.Annotations,
	}
	if pod.Annotations == nil {
		pod.Annotations = map[string]string{}
	}
	delete(pod.Annotations, mirrorAnnotation)
	pod.Annotations[SourceAnnotation] = FileSource
	pod.Annotations[HashAnnotation] = string(id)
	pod.Annotations[NameAnnotation] = strings.TrimSuffix(pod.Name, "-"+strings.ToLower(nodeName))
	pod.Spec.NodeName = nodeName
	tolerateNoExecute(pod)
	pod.Status = corev1.PodStatus{Phase: corev1.PodPending}
}

// tolerateNoExecute keeps a static Pod from being evicted by a taint: nobody would create it elsewhere.
func tolerateNoExecute(pod *corev1.Pod) {
	want := corev1.Toleration{Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute}
	if !slices.Contains(pod.Spec.Tolerations, want) {
		pod.Spec.Tolerations = append(pod.Spec.Tolerations, want)
	}
}
