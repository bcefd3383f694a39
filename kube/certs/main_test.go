package certs

import (
	"testing"

	"go.uber.org/goleak"
)

// TestMain leaves out two goroutines of client-go's manager: one that is stopped while it waits for the time to renew goes on
// waiting (certificate_manager.go, the select in run) and ends only then.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("k8s.io/client-go/util/certificate.(*manager).run"),
		goleak.IgnoreAnyFunction("k8s.io/client-go/util/certificate.(*manager).run.func1"))
}
