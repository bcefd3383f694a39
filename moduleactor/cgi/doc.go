// Package cgi serves HTTP with a module that speaks CGI/1.1 (RFC 3875): each request is one instance of it, which finds the
// request in its environment and on stdin and writes the response to stdout. wazlet-shim uses it for containers of Pods
// with the annotation wazlet.dev/http-handler: cgi.
//
//	connection ──► gate ──► pool ──► instance ──► header ──► body ──► access log
//	   │             │        │         │            │         └ fails: the connection is cut
//	   │             │        │         │            ├ Location: /path: another instance, at most 10 times
//	   │             │        │         │            └ no CGI response, exit code not 0: 502
//	   │             │        │         └ time-out: 504
//	   │             │        └ no memory for it: 503
//	   │             └ as many as may be served, and the queue is full: 503
//	   └ header too large: 431; body too large: 413, of unknown length and not small: 411
//
// An instance is never used twice. The package knows no engine: it is given a function that makes instances.
package cgi
