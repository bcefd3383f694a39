// Package status tells the API server how the node's Pods are (contract.md §7, §14). It knows no actors.
//
// # Who calls
//
//	nodeactor OnStatus  -> Set       the latest status of a Pod; nothing is sent that is not new
//	nodeactor OnEnded   -> Ended     nothing is left of the Pod: it may be deleted for good
//	source OnPods       -> Statics   the static Pods that are to have mirrors
//	source.Pods         -> Observe   the API's side changed
//
// None of them blocks: they note and enqueue. Workers take names of Pods from a rate-limited queue, so that only the latest
// state is ever sent, no Pod is written by two workers at once, and an API server that was away for minutes converges.
//
// # What is written
//
// A sync takes the newest version of the Pod that it knows, from the informer or the answer to its own last write, merges
// the node's status into the API's, and sends the difference as a strategic merge patch that names the UID and that version.
// If the Pod has changed since, it is read (a live GET) and the patch names only the UID, so that it cannot hit a successor
// of the same name. Fields and conditions of others are kept.
// A phase that is terminal in the API stays, whoever wrote it. When the Pod is being deleted and the node has ended it, a
// DELETE without grace, with the UID as its precondition, follows. Every ten seconds all statuses are compared with what
// the API shows, in case somebody else changed them.
//
// A Pod that is gone (404), that the API does not let us see any more because it is gone (403 "no relationship"), or that
// has another UID now, is forgotten.
//
// # Static Pods
//
// Each is shown by a mirror Pod: made from it, owned by the Node, replaced when it is deleted or belongs to another version
// of the manifest, and deleted when the static Pod has ended. Mirror Pods that no static Pod explains are deleted.
package status
