package egress

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
)

const (
	// Annotation of a Pod lists what it wants to reach.
	Annotation = "wazlet.dev/allowed-egress"
	// KrustletAnnotation is that of Krustlet's HTTP extension: a JSON list of URLs, of which scheme, host and port count.
	KrustletAnnotation = "alpha.wasi.krustlet.dev/allowed-domains"
)

// Ask reads what a Pod's annotations ask for. Its error names the annotation and what is wrong in it.
func Ask(annotations map[string]string) ([]Rule, error) {
	rules, err := ParseList(annotations[Annotation])
	if err != nil {
		return nil, fmt.Errorf("annotation %s: %w", Annotation, err)
	}
	text, ok := annotations[KrustletAnnotation]
	if !ok {
		return rules, nil
	}
	domains, err := parseDomains(text)
	if err != nil {
		return nil, fmt.Errorf("annotation %s: %w", KrustletAnnotation, err)
	}
	return append(rules, domains...), nil
}

func parseDomains(text string) ([]Rule, error) {
	var domains []string
	if err := json.Unmarshal([]byte(text), &domains); err != nil {
		return nil, errors.New(`want a JSON list of URLs, such as ["https://example.com"]`)
	}
	if len(domains) > MaxRules {
		return nil, fmt.Errorf("want at most %d URLs (got %d)", MaxRules, len(domains))
	}
	var rules []Rule
	for _, d := range domains {
		r, err := parseDomain(d)
		if err != nil {
			return nil, fmt.Errorf("URL %.100q: %w", d, err)
		}
		rules = append(rules, r)
	}
	return rules, nil
}

func parseDomain(text string) (Rule, error) {
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" {
		return Rule{}, errors.New("want scheme://host or scheme://host:port")
	}
	port := u.Port()
	if port == "" {
		defaults := map[string]string{"http": "80", "https": "443"}
		if port = defaults[u.Scheme]; port == "" {
			return Rule{}, fmt.Errorf("want http or https, or a port (got the scheme %.20q)", u.Scheme)
		}
	}
	return Parse(net.JoinHostPort(u.Hostname(), port))
}
