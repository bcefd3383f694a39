// Package source is where a node gets its Pods from: a directory of manifests, as the kubelet's static Pods (contract.md
// §14), and the API of a cluster (§6). Source reads the former, Pods the latter, Merge makes one list of both.
//
// # Manifests
//
// A file holds exactly one v1 Pod in YAML or JSON, as for the kubelet. (The kubelet silently ignores every document after
// the first; here a second document, or a List, is a problem.) All files of the directory count whatever their name ends
// in, but hidden ones and those that editors leave behind. Symbolic links are followed, so a mounted ConfigMap works.
//
// A manifest is decoded strictly, given the defaults of the API server, and validated as the API server would. It may not
// refer to objects of the API: config maps, secrets, service accounts, claims.
//
// # What becomes of a Pod
//
// The Pod's name gets the suffix -<node>, its UID is a hash of node, file and content: a changed manifest is another
// Pod, a manifest in which only comments or layout changed is the same. A file that cannot be accepted is reported and
// changes nothing: a Pod that was accepted from it before keeps running. Where two files define a Pod of the same
// namespace and name, the first by file name wins.
package source
