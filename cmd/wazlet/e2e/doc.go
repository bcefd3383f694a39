// Package e2e tests the real binaries from outside: `wazlet run` with real shims and real wasm. Its tests have the build tag
// e2e and want bin/wazlet, bin/wazlet-shim and bin/examples; `make test-e2e` builds those first.
package e2e
