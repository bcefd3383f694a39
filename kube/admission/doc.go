// Package admission decides, with the kubelet's reasons and messages, whether the node takes a Pod.
//
// It is asked once for each Pod that the node has not seen before, in the order of creation. Everything is decided from what
// is given: the Node, the Pods that the node has taken already, and the Pod. Nothing is asked of the network and nothing
// blocks, so that the node actor may call it between two events.
//
// What it checks, in the kubelet's order, and where it differs: ADR 13.
package admission
