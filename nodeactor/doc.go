// Package nodeactor supervises the Pods of one node: one pod actor for each Pod, named by its UID.
//
//	          recovered          first Resync
//	Starting -----------> Syncing -----------> Running
//	                         |                    |
//	                         | Drain              | Drain
//	                         v                    v
//	                      Draining <--------------'
//	                         | nothing is left
//	                         v
//	                      Stopped
//
// Starting reads what an earlier daemon left below the root directory; commands that arrive meanwhile wait. In Syncing
// the recovered Pods live on, wanted or not: nothing is ended for being absent from a list that nobody has sent yet.
//
// A Pod, as its node sees it:
//
//	             admitted              crashed too often
//	Waiting ----------------> Live ------------------------> Failing ----> Failed
//	(its name is taken)       | ^                            (its guests    | removed
//	                  crashed | | due                         are ended)    v
//	                          v |                                        Clearing ----> gone
//	                         BackOff                                        ^
//	                                     Ended                              | not wanted
//	                          Live ----------------> Leaving ----> gone     orphan on disk
//
// The node actor is never restarted in place and never escalates: a bug in it loses the message that found it, the actor
// is resumed and goes through everything it knows once more. Too many of those end the process (Deps.Fatal), which is
// harmless to the guests: they outlive it (ADR D3).
package nodeactor
