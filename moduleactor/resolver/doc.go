// Package resolver asks name servers for the addresses of names, as resolv.conf(5) says, but as a Pod's DNS policy and not as
// the host's file has it. What speaks to the servers is Go's own resolver.
package resolver
