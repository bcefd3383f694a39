// Package server is the kubelet's HTTP API as far as wazlet serves it: the Pods, their logs, health, configuration and
// metrics. It knows no actor and no container runtime: everything it serves comes from the functions in Handlers.
//
// The paths, query parameters, status codes and messages are the kubelet's (pkg/kubelet/server), because kubectl,
// kube-apiserver and log collectors depend on them. What differs is said where it differs.
//
//	GET /pods                                  v1.PodList
//	GET /containerLogs/{namespace}/{pod}/{container}
//	GET /healthz[/{check}]  /readyz[/{check}]  ?verbose ?exclude=
//	GET /configz  /metrics
//
// Who may call is not decided here: authentication and authorization are a Middleware around all of it.
package server
