package debug

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// GuardHost refuses with 403 what a page of another site may have sent through the user's browser to an address that
// only this machine should reach:
//
//   - requests whose Host header is neither a loopback name or address nor in hosts. A site whose name was made to point at
//     127.0.0.1 (DNS rebinding) still sends its own name;
//   - requests that a browser marks as made by another site, following a link excepted.
//
// hosts are names or addresses without port; "*" allows any Host. An address in hosts that is unspecified (0.0.0.0, ::)
// allows every IP address as Host, because an address cannot be rebound.
func GuardHost(hosts []string, next http.Handler) http.Handler {
	allowed := make([]string, len(hosts))
	anyAddress := false
	for i, h := range hosts {
		allowed[i] = strings.ToLower(strings.Trim(h, "[]"))
		if ip, err := netip.ParseAddr(allowed[i]); err == nil && ip.IsUnspecified() {
			anyAddress = true
		}
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := hostname(r.Host)
		switch {
		case !slices.Contains(allowed, "*") && !slices.Contains(allowed, host) && !local(host, anyAddress):
			refuse(w, r, http.StatusForbidden, fmt.Sprintf("host %q is not served here: ask for localhost or an address of loopback", host))
		case r.Header.Get("Sec-Fetch-Site") == "cross-site" && r.Header.Get("Sec-Fetch-Mode") != "navigate":
			refuse(w, r, http.StatusForbidden, "requests from pages of other sites are not served")
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// hostname is the Host header without port and brackets.
func hostname(hostport string) string {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = hostport
	}
	return strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
}

func local(host string, anyAddress bool) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && (anyAddress || ip.Unmap().IsLoopback())
}
