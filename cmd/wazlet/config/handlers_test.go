package config

import (
	"strings"
	"testing"
)

func TestHTTPHandlers(t *testing.T) {
	for text, want := range map[string]string{
		"{timeout: {max: 1h}}":                      "",
		"{timeout: {default: 11m}}":                 "httpHandlers.timeout.default: must be between 1ms and max, which is 10m0s (got \"11m0s\")",
		"{timeout: {max: 0s}}":                      "httpHandlers.timeout.max: must be between 1ms and 24h (got \"0s\")",
		"{maxConcurrency: {max: 2000}}":             "httpHandlers.maxConcurrency.max: must be between 1 and 1000 (got 2000)",
		"{maxConcurrency: {default: 9, max: 8}}":    "httpHandlers.maxConcurrency.default: must be between 1 and 8 (got 9)",
		"{maxBodyBytes: {default: 2Gi}}":            "httpHandlers.maxBodyBytes.default: must be between 0 and max, which is 1Gi (got \"2Gi\")",
		"{maxBodyBytes: {default: 0, max: 2Ti}}":    "httpHandlers.maxBodyBytes.max: must be between 0 and 1Ti (got \"2Ti\")",
		"{maxBodyBytes: {default: -1}}":             "httpHandlers.maxBodyBytes.default: must be between 0 and max, which is 1Gi (got \"-1\")",
		"{timeout: {default: 1ms}, unknown: thing}": "httpHandlers.unknown",
	} {
		f, err := decode("node.yaml", []byte(head+"httpHandlers: "+text+"\n"), rootHost)
		if err == nil {
			err = f.validate(rootHost.complete(f.config))
		}
		switch {
		case want == "" && err != nil, want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}
