// Package certs gets, keeps and renews the two certificates of a node: the one it shows to the API server and the one its
// own server shows.
//
// # Client
//
//	bootstrap kubeconfig ── CSR kubernetes.io/kube-apiserver-client-kubelet ──> Dir/wazlet-client-current.pem
//	                                                                            ^        | at 70–90 % of its life:
//	kubeconfig (written by NewClient) refers to it ─────────────────────────────+        | CSR with the present one
//	                                                                            +────────+
//
// A kubeconfig that brings other credentials (a token, an exec plugin, certificates that somebody else renews) is used as
// it is. Nothing here ends the process: wrong, missing or expired credentials are logged and tried again, with the
// bootstrap kubeconfig read anew each time, so that a fresh token put there is enough.
//
// A renewed certificate closes the connections that were opened with the old one; without that, a watch would go on under
// credentials that have expired.
//
// # Serving
//
// Three modes: signed by the cluster (csr), self-signed, or files that somebody else renews.
package certs
