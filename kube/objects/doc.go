// Package objects reads what Pods of this node refer to: ConfigMaps, Secrets, tokens of their ServiceAccounts, and the
// Services of the cluster. It knows no actors; what it has is handed to Pods by the daemon.
//
// The Node authorizer lets a node read a ConfigMap or Secret by its name only, and only while a Pod of the node refers to
// it. So there is one watch for each such object, for as long as a registered Pod refers to it:
//
//	Register(pod) ──> reference counts ──first──> watch of one object ──change──> OnChange
//	Unregister(uid) ────────────────────last────> watch ends
//
// A watch that is not allowed yet (the authorizer may not have seen the Pod), or not any more, is tried again with a
// back-off; so is one that the API server cuts.
//
// Services, which all Pods see, are followed by one informer for all namespaces, as by the kubelet.
package objects
