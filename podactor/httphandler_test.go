package podactor

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/wazlet/wazlet/moduleactor/bundle"
)

var handlerLimits = HandlerLimits{
	Default: HandlerLimit{Timeout: 30 * time.Second, MaxConcurrency: 32, MaxBodyBytes: 10 << 20},
	Max:     HandlerLimit{Timeout: 10 * time.Minute, MaxConcurrency: 256, MaxBodyBytes: 1 << 30},
}

func TestHTTPHandler(t *testing.T) {
	plain := bundle.Handler{Protocol: "cgi", Timeout: 30 * time.Second, MaxConcurrency: 32, MaxBodyBytes: 10 << 20}
	with := func(change func(*bundle.Handler)) *bundle.Handler {
		h := plain
		change(&h)
		return &h
	}
	const dev = "wazlet.dev/"
	for name, tc := range map[string]struct {
		annotations map[string]string
		container   string // empty: web
		want        *bundle.Handler
		err         string
	}{
		"none":               {},
		"cgi":                {annotations: map[string]string{dev + "http-handler": "cgi"}, want: &plain},
		"a sidecar":          {annotations: map[string]string{dev + "http-handler": "cgi"}, container: "side", want: &plain},
		"no port":            {annotations: map[string]string{dev + "http-handler": "cgi"}, container: "worker"},
		"a port for UDP":     {annotations: map[string]string{dev + "http-handler": "cgi"}, container: "udp"},
		"an init container":  {annotations: map[string]string{dev + "http-handler": "cgi"}, container: "init"},
		"named":              {annotations: map[string]string{dev + "http-handler": "cgi", dev + "http-handler-containers": "side, web"}, want: &plain},
		"another is named":   {annotations: map[string]string{dev + "http-handler": "cgi", dev + "http-handler-containers": "side"}},
		"no such container":  {annotations: map[string]string{dev + "http-handler": "cgi", dev + "http-handler-containers": "nginx"}, err: `annotation wazlet.dev/http-handler-containers: want names of containers, with commas: side,web,worker,udp (got "nginx")`},
		"named without port": {annotations: map[string]string{dev + "http-handler": "cgi", dev + "http-handler-containers": "worker"}, err: `annotation wazlet.dev/http-handler-containers: container worker has no containerPort of protocol TCP (got "worker")`},
		"limits": {
			annotations: map[string]string{
				dev + "http-handler": "cgi", dev + "http-handler-timeout": "1m", dev + "http-handler-max-concurrency": "2",
				dev + "http-handler-max-body-bytes": "1Ki", dev + "http-handler-pass-authorization": "true",
			},
			want: &bundle.Handler{Protocol: "cgi", Timeout: time.Minute, MaxConcurrency: 2, MaxBodyBytes: 1024, PassAuthorization: true},
		},
		"no body at all": {
			annotations: map[string]string{dev + "http-handler": "cgi", dev + "http-handler-max-body-bytes": "0"},
			want:        with(func(h *bundle.Handler) { h.MaxBodyBytes = 0 }),
		},
		"another protocol": {
			annotations: map[string]string{dev + "http-handler": "fastcgi"},
			err:         `annotation wazlet.dev/http-handler: want cgi (got "fastcgi")`,
		},
		"too long": {
			annotations: map[string]string{dev + "http-handler": "cgi", dev + "http-handler-timeout": "11m"},
			err:         `annotation wazlet.dev/http-handler-timeout: want 1ms to 10m0s, as in 30s (got "11m")`,
		},
		"no time": {
			annotations: map[string]string{dev + "http-handler": "cgi", dev + "http-handler-timeout": "30"},
			err:         `annotation wazlet.dev/http-handler-timeout: want 1ms to 10m0s, as in 30s (got "30")`,
		},
		"too many": {
			annotations: map[string]string{dev + "http-handler": "cgi", dev + "http-handler-max-concurrency": "1000"},
			err:         `annotation wazlet.dev/http-handler-max-concurrency: want 1 to 256 (got "1000")`,
		},
		"too large": {
			annotations: map[string]string{dev + "http-handler": "cgi", dev + "http-handler-max-body-bytes": "2Gi"},
			err:         `annotation wazlet.dev/http-handler-max-body-bytes: want 0 to 1Gi, as in 10Mi (got "2Gi")`,
		},
		"neither true nor false": {
			annotations: map[string]string{dev + "http-handler": "cgi", dev + "http-handler-pass-authorization": "yes"},
			err:         `annotation wazlet.dev/http-handler-pass-authorization: want true or false (got "yes")`,
		},
		"settings of no handler": {
			annotations: map[string]string{dev + "http-handler-timeout": "1m"},
			err:         `annotation wazlet.dev/http-handler-timeout: needs wazlet.dev/http-handler: cgi`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			pod := handlerPod()
			pod.Annotations = tc.annotations
			if tc.container == "" {
				tc.container = "web"
			}
			got, err := httpHandler(handlerLimits, pod, specOf(pod, tc.container))
			if tc.err != "" {
				if err == nil || err.Error() != tc.err {
					t.Errorf("%v, want %s", err, tc.err)
				}
				return
			}
			if d := cmp.Diff(tc.want, got); d != "" || err != nil {
				t.Errorf("%v %s", err, d)
			}
		})
	}
	alone := onePod("c")
	alone.Annotations = map[string]string{dev + "http-handler": "cgi"}
	const want = `annotation wazlet.dev/http-handler: want a container with a containerPort of protocol TCP (got "cgi")`
	if _, err := httpHandler(handlerLimits, alone, specOf(alone, "c")); err == nil || err.Error() != want {
		t.Errorf("%v", err)
	}
}

// handlerPod has containers that may be handlers and others that may not.
func handlerPod() *corev1.Pod {
	pod := onePod("web", "worker", "udp")
	pod.Spec.Containers[0].Ports = []corev1.ContainerPort{{ContainerPort: 8080}}
	pod.Spec.Containers[2].Ports = []corev1.ContainerPort{{ContainerPort: 53, Protocol: corev1.ProtocolUDP}}
	always := corev1.ContainerRestartPolicyAlways
	pod.Spec.InitContainers = []corev1.Container{
		{Name: "init", Ports: []corev1.ContainerPort{{ContainerPort: 1}}},
		{Name: "side", Ports: []corev1.ContainerPort{{ContainerPort: 8081, Protocol: corev1.ProtocolTCP}}, RestartPolicy: &always},
	}
	return pod
}
