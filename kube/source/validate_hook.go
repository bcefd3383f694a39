package source

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// validateHooks checks probes and lifecycle handlers. An init container that is not a sidecar has none: it runs to its
// end before anybody could ask for it.
func validateHooks(c *corev1.Container, kind containerKind, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, p := range []struct {
		name  string
		probe *corev1.Probe
	}{{"livenessProbe", c.LivenessProbe}, {"readinessProbe", c.ReadinessProbe}, {"startupProbe", c.StartupProbe}} {
		switch {
		case p.probe == nil:
		case kind == initContainer:
			errs = append(errs, field.Forbidden(path.Child(p.name), "an init container has no probes, unless its restartPolicy is Always"))
		default:
			errs = append(errs, validateProbe(p.probe, p.name != "readinessProbe", path.Child(p.name))...)
		}
	}
	if c.Lifecycle == nil {
		return errs
	}
	at := path.Child("lifecycle")
	if kind == initContainer {
		return append(errs, field.Forbidden(at, "an init container has no lifecycle handlers, unless its restartPolicy is Always"))
	}
	for _, h := range []struct {
		name    string
		handler *corev1.LifecycleHandler
	}{{"postStart", c.Lifecycle.PostStart}, {"preStop", c.Lifecycle.PreStop}} {
		if h.handler != nil {
			errs = append(errs, validateAction(action{
				exec: h.handler.Exec, http: h.handler.HTTPGet, tcp: h.handler.TCPSocket, sleep: h.handler.Sleep,
			}, at.Child(h.name))...)
		}
	}
	return errs
}

func validateProbe(p *corev1.Probe, once bool, path *field.Path) field.ErrorList {
	errs := validateAction(action{exec: p.Exec, http: p.HTTPGet, tcp: p.TCPSocket, grpc: p.GRPC}, path)
	errs = append(errs, notNegative(path.Child("initialDelaySeconds"), p.InitialDelaySeconds)...)
	errs = append(errs, notNegative(path.Child("timeoutSeconds"), p.TimeoutSeconds)...)
	errs = append(errs, notNegative(path.Child("periodSeconds"), p.PeriodSeconds)...)
	errs = append(errs, notNegative(path.Child("successThreshold"), p.SuccessThreshold)...)
	errs = append(errs, notNegative(path.Child("failureThreshold"), p.FailureThreshold)...)
	if once && p.SuccessThreshold != 1 {
		errs = append(errs, field.Invalid(path.Child("successThreshold"), p.SuccessThreshold, "must be 1"))
	}
	if g := p.TerminationGracePeriodSeconds; g != nil {
		switch {
		case !once:
			errs = append(errs, field.Forbidden(path.Child("terminationGracePeriodSeconds"), "a readiness probe ends nothing"))
		case *g < 1:
			errs = append(errs, field.Invalid(path.Child("terminationGracePeriodSeconds"), *g, "must be at least 1"))
		}
	}
	return errs
}

// action is the union of what probes and lifecycle handlers can do.
type action struct {
	exec  *corev1.ExecAction
	http  *corev1.HTTPGetAction
	tcp   *corev1.TCPSocketAction
	grpc  *corev1.GRPCAction
	sleep *corev1.SleepAction
}

func validateAction(a action, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	given := 0
	if a.exec != nil {
		given++
		if len(a.exec.Command) == 0 {
			errs = append(errs, field.Required(path.Child("exec", "command"), ""))
		}
	}
	if a.http != nil {
		given++
		errs = append(errs, validateTarget(a.http.Port, path.Child("httpGet", "port"))...)
		errs = append(errs, oneOf(path.Child("httpGet", "scheme"), a.http.Scheme, corev1.URISchemeHTTP, corev1.URISchemeHTTPS)...)
	}
	if a.tcp != nil {
		given++
		errs = append(errs, validateTarget(a.tcp.Port, path.Child("tcpSocket", "port"))...)
	}
	if a.grpc != nil {
		given++
		errs = append(errs, validateTarget(intstr.FromInt32(a.grpc.Port), path.Child("grpc", "port"))...)
	}
	if a.sleep != nil {
		given++
		errs = append(errs, notNegative(path.Child("sleep", "seconds"), a.sleep.Seconds)...)
	}
	switch {
	case given == 0:
		errs = append(errs, field.Required(path, "must have a handler: exec, httpGet, tcpSocket, or what else is allowed here"))
	case given > 1:
		errs = append(errs, field.Forbidden(path, "must have one handler only"))
	}
	return errs
}

func validateTarget(port intstr.IntOrString, path *field.Path) field.ErrorList {
	if port.Type == intstr.String {
		return all(path, port.StrVal, validation.IsValidPortName)
	}
	return between(path, port.IntVal, 1, 65535, "must be between 1 and 65535")
}
