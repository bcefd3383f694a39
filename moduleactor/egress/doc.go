// Package egress decides where a guest may connect to.
//
// The default is nothing but the Pod's own addresses. A Pod asks for more by the annotation
//
//	wazlet.dev/allowed-egress: "10.0.0.0/8:5432, *.example.com:443, api.example.com:8000-8100, [2001:db8::/32]:443"
//
// and gets what the node's configuration allows of it:
//
//	egress:
//	  allow: ["*"]
//	  deny: [127.0.0.0/8, 169.254.0.0/16]
//
// A connection is allowed if a rule of the Pod and a rule of the node's allow match it and none of the node's deny does.
// A rule by name matches an address that the guest got by resolving such a name, which is the full one: the Pod's search
// domains make others of short names. A Pod that brings name servers of its own gets nothing by the names in the node's
// allow, only by addresses. The names in deny keep nobody out who knows the address.
//
// The package is pure: it knows no socket and asks no name server.
package egress
