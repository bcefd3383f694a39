// Package node keeps the Node object of this node: it registers it, reports its status and renews its lease, as contract.md
// §5 has it and as the node lifecycle controller expects it.
//
//	          Create ── AlreadyExists ─> Get, patch labels, annotations, status
//	             |                          |
//	             +────────────┬─────────────+                     deleted by somebody
//	                          v                                          |
//	         every 100 ms until first Ready, then 10 s  <── register ────+
//	observe machine, pressure, images, readiness
//	── differs from the cached Node, or last write 5 min ago (± 50 % after a change) ──> patch of status
//	lease kube-node-lease/<node>: 40 s, renewed every 10 s, owned by the Node
//
// What is computed is a pure function of the Node as it was and of an Observation; only Controller does I/O.
package node
