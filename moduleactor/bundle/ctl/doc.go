// Package ctl is how a daemon talks to a running shim: a unix socket in the attempt's directory, made by the shim, or, with
// a shared shim, one end of a socket pair, which the daemon hands over. Only
// root can connect; neither side trusts the other with its memory.
//
//	client                                   shim
//	{"version":1,"verb":"attach",...}\n  ->        the request: one line of JSON, at most 64 KiB
//	                                     <-  {"version":1}\n   or   {"version":1,"error":"..."}\n and the end
//	frames                              <->  frames, until either side closes
//
// What the frames mean is the verb's business. A frame is one byte that tells its kind, the length of its payload in four
// bytes, big-endian, at most 32 KiB, and the payload. A verb may have fields of its own beside "version" and "verb" in
// its request, and may answer with more than "version"; who does not know a field ignores it. A shim that does not know a
// verb, or the version, says so in "error": shims outlive daemons, so either may be the older one.
//
// The verb "attach" streams the guest's output, and takes its input:
//
//	stdin, stdinEnd, resize  ->              input, its end (no payload), columns and rows (two bytes each)
//	                         <-  stdout, stderr, end    output; why the stream ends, empty when the guest did
//
// The verb "refusals" streams what is refused to the guest, to a daemon that did not start the shim. A text goes to one client:
//
//	<-  refusal                its text
package ctl
