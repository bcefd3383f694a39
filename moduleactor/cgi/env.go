package cgi

import (
	"context"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// metaVariables are those of RFC 3875, section 4.1, and what servers have added to them. A container cannot set them: the
// guest could not tell them from the request's. AUTH_TYPE, REMOTE_IDENT and REMOTE_USER are never set, because the server
// authenticates nobody, PATH_TRANSLATED is not, because there are no documents, and HTTPS is not, because there is no TLS.
func isMetaVariable(name string) bool {
	switch name {
	case "AUTH_TYPE", "CONTENT_LENGTH", "CONTENT_TYPE", "GATEWAY_INTERFACE", "PATH_INFO", "PATH_TRANSLATED", "QUERY_STRING",
		"REMOTE_ADDR", "REMOTE_HOST", "REMOTE_IDENT", "REMOTE_PORT", "REMOTE_USER", "REQUEST_METHOD", "REQUEST_URI", "SCRIPT_NAME",
		"SERVER_ADDR", "SERVER_NAME", "SERVER_PORT", "SERVER_PROTOCOL", "SERVER_SOFTWARE", "HTTPS":
		return true
	}
	return false
}

// environment makes the environments of instances.
type environment struct {
	// base is the container's, and what is the same for all requests. names are its variables that begin with HTTP_.
	base              []string
	names             map[string]bool
	passAuthorization bool
}

func newEnvironment(container []string, software string, passAuthorization bool) *environment {
	e := &environment{names: map[string]bool{}, passAuthorization: passAuthorization}
	for _, kv := range container {
		name, _, _ := strings.Cut(kv, "=")
		if isMetaVariable(name) {
			continue
		}
		if strings.HasPrefix(name, "HTTP_") {
			e.names[name] = true
		}
		e.base = append(e.base, kv)
	}
	// The whole path belongs to the script, so its name is empty and everything is PATH_INFO.
	e.base = append(e.base, "GATEWAY_INTERFACE=CGI/1.1", "SERVER_SOFTWARE="+software, "SCRIPT_NAME=")
	return e
}

// of is the environment for a request; body tells whether it has one, of length bytes.
func (e *environment) of(r *http.Request, body bool, length int64) []string {
	const own = 14
	env := make([]string, len(e.base), len(e.base)+own+len(r.Header))
	copy(env, e.base)
	local := localAddr(r.Context())
	remoteHost, remotePort := splitHostPort(r.RemoteAddr)
	localHost, localPort := splitHostPort(local)
	env = append(env,
		"REQUEST_METHOD="+r.Method, "REQUEST_URI="+r.RequestURI, "PATH_INFO="+r.URL.Path, "QUERY_STRING="+r.URL.RawQuery,
		"SERVER_PROTOCOL="+r.Proto, "SERVER_NAME="+serverName(r.Host, localHost), "SERVER_ADDR="+localHost, "SERVER_PORT="+localPort,
		"REMOTE_ADDR="+remoteHost, "REMOTE_HOST="+remoteHost, "REMOTE_PORT="+remotePort)
	if body {
		env = append(env, "CONTENT_LENGTH="+strconv.FormatInt(length, 10))
		if t := r.Header.Get("Content-Type"); t != "" {
			env = append(env, "CONTENT_TYPE="+t)
		}
	}
	if r.Host != "" && !e.names["HTTP_HOST"] {
		env = append(env, "HTTP_HOST="+r.Host)
	}
	return e.appendHeader(env, r.Header)
}

// appendHeader adds the header's fields as HTTP_*, in the order of their names. A variable of the container goes before
// one that any client can choose.
func (e *environment) appendHeader(env []string, h http.Header) []string {
	first := len(env)
	for field, values := range h {
		if !e.shown(field) {
			continue
		}
		name, ok := variable(field)
		if !ok || e.names[name] {
			continue
		}
		sep := ", "
		if field == "Cookie" {
			sep = "; "
		}
		env = append(env, name+"="+strings.Join(values, sep))
	}
	slices.Sort(env[first:])
	return env
}

// shown tells whether a guest may see a field of the request. Proxy would become HTTP_PROXY, which makes HTTP clients send
// their requests through the attacker's proxy (CVE-2016-5385). Credentials are removed as section 4.1.18 wants it.
func (e *environment) shown(field string) bool {
	switch field {
	case "Proxy", "Proxy-Authorization", "Connection", "Content-Length", "Content-Type", "Keep-Alive", "Proxy-Connection", "Te",
		"Trailer", "Transfer-Encoding", "Upgrade", "Expect", "Host":
		return false
	case "Authorization":
		return e.passAuthorization
	}
	return true
}

// variable is the name for a field. A field whose name has anything but letters, digits and dashes could pass for another.
func variable(field string) (string, bool) {
	b := make([]byte, 0, len("HTTP_")+len(field))
	b = append(b, "HTTP_"...)
	for i := range len(field) {
		switch c := field[i]; {
		case c >= 'a' && c <= 'z':
			b = append(b, c-'a'+'A')
		case c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
			b = append(b, c)
		case c == '-':
			b = append(b, '_')
		default:
			return "", false
		}
	}
	return string(b), true
}

// serverName is the host that the client asked for, without its port.
func serverName(host, local string) string {
	if host == "" {
		host = local
		if strings.Contains(host, ":") {
			host = "[" + host + "]"
		}
		return host
	}
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") {
		host = host[:i]
	}
	return host
}

func localAddr(ctx context.Context) string {
	if a, ok := ctx.Value(http.LocalAddrContextKey).(net.Addr); ok {
		return a.String()
	}
	return ""
}

// splitHostPort is net.SplitHostPort for what a socket says.
func splitHostPort(addr string) (host, port string) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr, ""
	}
	return host, port
}
