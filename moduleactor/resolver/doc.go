// Package resolver finds the addresses of names, in a hosts(5) file and by asking name servers as resolv.conf(5) says, but with the
// files of a Pod and not those of the host. What speaks to the servers is Go's own resolver.
package resolver
