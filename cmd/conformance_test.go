package cmd

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
)

var update = flag.Bool("update", false, "rewrite docs/conformance.md") //nolint:gochecknoglobals // flags are

// A verdict says what becomes of a field.
type verdict string

const (
	honoured verdict = "honoured"
	partly   verdict = "partly"
	refused  verdict = "refused"
	ignored  verdict = "ignored"
)

type ruling struct {
	verdict verdict
	note    string
}

const (
	scheduling = "for the scheduler and the API server; nothing is left for a node to do"
	admitted   = "checked again when the Pod arrives: ADR 13"
	noProfile  = "AppArmor, unless it is Unconfined"
	noUser     = "a guest has no user, and makes no system calls"
	inCluster  = "in a cluster; a static Pod may not refer to objects of the API: its manifest is refused"
	noVolume   = "the Pod waits with FailedMount, which names the kind"
)

// section is one part of the Pod: the fields of one Go type.
type section struct {
	path    string
	of      any
	rulings map[string]ruling
	// rest holds for every field that rulings does not name; empty: each must be named.
	rest ruling
}

func sections() []section {
	return []section{
		{path: "spec", of: corev1.PodSpec{}, rulings: podRulings()},
		{path: "spec.containers[]", of: corev1.Container{}, rulings: containerRulings()},
		{path: "spec.containers[].env[].valueFrom", of: corev1.EnvVarSource{}, rulings: map[string]ruling{
			"fieldRef":         {honoured, ""},
			"resourceFieldRef": {honoured, ""},
			"configMapKeyRef":  {honoured, inCluster},
			"secretKeyRef":     {honoured, inCluster},
			"fileKeyRef":       {refused, "CreateContainerConfigError"},
		}},
		{path: "spec.containers[].volumeMounts[]", of: corev1.VolumeMount{}, rulings: map[string]ruling{
			"name": {honoured, ""}, "readOnly": {honoured, ""}, "mountPath": {honoured, ""}, "subPath": {honoured, ""}, "subPathExpr": {honoured, ""},
			"recursiveReadOnly": {honoured, "every read-only mount is: a guest sees no mounts below a mount"},
			"mountPropagation":  {ignored, "a guest has no mount namespace"},
		}},
		{path: "spec.containers[].securityContext", of: corev1.SecurityContext{}, rulings: map[string]ruling{
			"readOnlyRootFilesystem": {honoured, ""}, "appArmorProfile": {refused, noProfile},
		}, rest: ruling{ignored, noUser}},
		{path: "spec.securityContext", of: corev1.PodSecurityContext{}, rulings: map[string]ruling{
			"sysctls": {refused, "SysctlForbidden"}, "appArmorProfile": {refused, noProfile},
			"supplementalGroupsPolicy": {partly, "Strict is refused: SupplementalGroupsPolicyNotSupported"},
		}, rest: ruling{ignored, noUser}},
		{path: "spec.volumes[]", of: corev1.Volume{}, rulings: map[string]ruling{
			"name":        {honoured, ""},
			"emptyDir":    {partly, "a directory; medium Memory and sizeLimit are not enforced"},
			"hostPath":    {partly, "types Socket, CharDevice and BlockDevice are refused: WASI cannot open one"},
			"configMap":   {honoured, inCluster},
			"secret":      {honoured, inCluster},
			"downwardAPI": {honoured, ""},
			"projected":   {partly, "all sources but clusterTrustBundle and podCertificate; tokens are renewed at 80 %"},
		}, rest: ruling{refused, noVolume}},
	}
}

func podRulings() map[string]ruling {
	r := map[string]ruling{
		"volumes": {partly, "see below"}, "initContainers": {honoured, "with restartPolicy Always: sidecars"}, "containers": {partly, "see below"},
		"ephemeralContainers": {ignored, "refused for a static Pod, as the API server does"},
		"restartPolicy":       {honoured, ""}, "activeDeadlineSeconds": {honoured, ""},
		"terminationGracePeriodSeconds": {honoured, "in full for guests that have clients or ask for signals (wazlet.dev/signals), an upper bound for others: ADR 10"},
		"nodeName":                      {honoured, "must be this node"},
		"hostNetwork":                   {honoured, "the Pod has the node's address"}, "hostname": {honoured, ""},
		"runtimeClassName":   {honoured, "maps to an isolation by the node's configuration; with shared, hostPath volumes outside of isolation.shared.hostPaths are refused with CreateContainerConfigError"},
		"imagePullSecrets":   {honoured, "tried before the node's images.dockerConfig"},
		"serviceAccountName": {honoured, inCluster}, "serviceAccount": {honoured, inCluster},
		"automountServiceAccountToken": {honoured, inCluster}, "enableServiceLinks": {honoured, inCluster},
		"readinessGates": {honoured, inCluster},
		"resourceClaims": {ignored, "dynamic resource allocation is not there"},
		"resources":      {refused, "PodLevelResourcesNotSupported; those of containers are honoured"},
	}
	group := func(v ruling, names ...string) {
		for _, n := range names {
			r[n] = v
		}
	}
	group(ruling{honoured, "in /etc/resolv.conf, and for names that guests resolve through the host (WasmEdge's sockets)"}, "dnsPolicy", "dnsConfig")
	group(ruling{honoured, "in /etc/hosts, /etc/hostname and HOSTNAME"}, "subdomain", "setHostnameAsFQDN", "hostnameOverride")
	r["hostAliases"] = ruling{honoured, "in /etc/hosts, and for names that guests resolve through the host"}
	group(ruling{ignored, noUser}, "hostPID", "hostIPC", "hostUsers", "shareProcessNamespace", "securityContext")
	group(ruling{honoured, admitted}, "nodeSelector", "affinity", "tolerations", "os", "overhead")
	group(ruling{ignored, scheduling}, "schedulerName", "priorityClassName", "priority", "preemptionPolicy", "topologySpreadConstraints",
		"schedulingGates", "schedulingGroup")
	return r
}

func containerRulings() map[string]ruling {
	r := map[string]ruling{
		"ports": {partly, "TCP and UDP are bound before the guest starts, hostPort on the node's address or hostIP; SCTP is ignored"}, "envFrom": {honoured, inCluster}, "env": {partly, "see below"},
		"resources":     {partly, "limits of cpu and memory; requests count for admission and the QoS class"},
		"resizePolicy":  {ignored, "resizing in place is refused: the condition PodResizePending says Infeasible"},
		"volumeDevices": {refused, "CreateContainerConfigError: WASI has no block devices"},
		"lifecycle":     {ignored, "hooks are not there yet"},
		"stdin":         {honoured, "open for kubectl attach"}, "stdinOnce": {honoured, ""}, "tty": {honoured, "its output is stdout in the log"},
		"securityContext": {partly, "see below"},
	}
	for _, n := range []string{
		"name", "image", "command", "args", "workingDir", "restartPolicy", "restartPolicyRules", "volumeMounts",
		"terminationMessagePath", "terminationMessagePolicy", "imagePullPolicy",
	} {
		r[n] = ruling{honoured, ""}
	}
	for _, n := range []string{"livenessProbe", "readinessProbe", "startupProbe"} {
		r[n] = ruling{ignored, "a container is ready when it runs; probes are not there yet"}
	}
	return r
}

// TestConformance keeps docs/conformance.md complete: a field that Kubernetes adds, or that nobody has ruled on, fails it.
func TestConformance(t *testing.T) {
	var out bytes.Buffer
	out.WriteString("# What each field of a Pod does\n\nWritten by `go test ./cmd -run TestConformance -update`, which fails for a field of the API " +
		"(k8s.io/api) without a ruling.\n\n**honoured**: as on any node. **partly**: with the difference given. **refused**: with a message that says so. " +
		"**ignored**: accepted, and without effect.\n")
	for _, s := range sections() {
		fmt.Fprintf(&out, "\n## %s\n\n| field | | |\n|---|---|---|\n", s.path)
		names := fields(reflect.TypeOf(s.of))
		for _, name := range names {
			r, ok := s.rulings[name]
			if !ok {
				r = s.rest
			}
			if r.verdict == "" {
				t.Errorf("%s.%s: nobody has ruled on it", s.path, name)
			}
			fmt.Fprintf(&out, "| %s | %s | %s |\n", name, r.verdict, r.note)
		}
		for name := range s.rulings {
			if !slices.Contains(names, name) {
				t.Errorf("%s.%s: there is no such field", s.path, name)
			}
		}
	}
	file := filepath.Join("..", "docs", "conformance.md")
	if *update {
		if err := os.WriteFile(file, out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(got), out.String()); diff != "" {
		t.Errorf("docs/conformance.md is out of date (-file +rulings); run with -update:\n%s", diff)
	}
}

// fields returns the names of a type's fields as they stand in a manifest, inlined structs included.
func fields(t reflect.Type) []string {
	var names []string
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" {
			names = append(names, fields(f.Type)...)
			continue
		}
		names = append(names, name)
	}
	return names
}
