// Package server is the kubelet's HTTP API as far as wazlet serves it: the Pods, their logs, exec, attach and
// port-forward, health, configuration, resource use and metrics. It knows no actor, no container runtime and no API
// client: everything it serves comes from the functions in Handlers, and whom it may serve from the two questions in
// Auth.
//
// The paths, query parameters, status codes and messages are the kubelet's (pkg/kubelet/server), because kubectl,
// kube-apiserver, metrics-server and log collectors depend on them. What differs is said where it differs.
//
//	GET      /pods  /runningpods/                                  v1.PodList
//	GET      /containerLogs/{namespace}/{pod}/{container}
//	GET POST /exec/{namespace}/{pod}[/{uid}]/{container}           SPDY and WebSocket, v5.channel.k8s.io and older
//	GET POST /attach/{namespace}/{pod}[/{uid}]/{container}         the same
//	GET POST /portForward/{namespace}/{pod}[/{uid}]                SPDY, also through WebSocket, and WebSocket
//	POST     /run/{namespace}/{pod}[/{uid}]/{container}
//	GET      /healthz[/{check}]  /readyz[/{check}]                 ?verbose ?exclude=
//	GET      /configz
//	GET      /metrics  /metrics/resource  /metrics/probes  /metrics/slis
//	GET POST /stats/summary                                        ?only_cpu_and_memory=true
//	GET      /logs/{path}                                          files of the node; ?query= logs of its services
//	GET      /debug/pprof/
//
// New is the API as a handler, for the loopback debug port. Serve is the API on the network:
//
//	TLS ─► in flight ─► authentication ─────────► authorization ──────────► New
//	                    client certificate,       SubjectAccessReview,
//	                    TokenReview (2 min)       yes 5 min, no 30 s
//
// SPDY and the older WebSocket protocols are cri-streaming's. Version 5 (channels.go) and SPDY through WebSocket
// (tunnel.go) are ours: kube-apiserver passes them on as they are to a node that declares ExtendWebSocketsToKubelet, so
// that the end of a client is the end of our connection. For any other node, and before 1.36, it translates them to SPDY
// and does not end that with its client.
package server
