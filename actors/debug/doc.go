// Package debug shows the actor tree from outside: a live page, and JSON beside it.
//
//	actors.System --Observe--> Recorder (rings, histories) --.
//	actors.Registry --Snapshot--------------------------------+--> Handler --> /debug/...
//	Pods func ------------------------------------------------'
//
// The Recorder is an actors.Observer: it takes each event under one short lock, encodes nothing and never waits; who
// reads too slowly loses events and is told how many. The Handler reads the registry without asking any actor, so that a
// stuck actor, the one that matters, is shown like every other.
//
// # Memory
//
// Everything is bounded. The last 4,096 events, 1,000 decisions and 200 dead letters are kept, and of each Pod the last
// 256 transitions, until ten minutes after it ended. When more than 131,072 transitions are kept in all, a Pod that has
// 32 or more loses its oldest for each new one; when histories of more than 20,000 Pods are kept, the one that changed
// least recently goes. A transition takes about 150 bytes: 10,000 Pods with ten transitions each need some 20 MB, and the
// worst case at 10,000 Pods, all of them in a crash loop, is 70 MB. A page that is open takes a queue of 512 events and a copy of the
// rows that it shows; 32 may be open at once.
//
// # Secrets
//
// Specs are summarized: names, images, policies, never commands, arguments or environment values. Messages between actors are shown
// by type, never by content.
package debug
