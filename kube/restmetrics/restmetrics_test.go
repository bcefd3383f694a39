package restmetrics_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/wazlet/wazlet/kube/restmetrics"
)

func TestRequestsAreCounted(t *testing.T) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(restmetrics.New()...)
	again := prometheus.NewRegistry()
	again.MustRegister(restmetrics.New()...)

	api := httptest.NewServer(http.NotFoundHandler())
	defer api.Close()
	client, err := kubernetes.NewForConfig(&rest.Config{Host: api.URL})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.CoreV1().Pods("ns").Get(t.Context(), "p", metav1.GetOptions{}); err == nil {
		t.Fatal("there is a Pod")
	}
	host := strings.TrimPrefix(api.URL, "http://")
	for _, want := range []string{
		`rest_client_requests_total{code="404",host="` + host + `",method="GET"} 1`,
		`rest_client_request_duration_seconds_count{host="` + host + `",verb="GET"} 1`,
		`rest_client_rate_limiter_duration_seconds_count{host="` + host + `",verb="GET"} 1`,
	} {
		if got := scrape(registry); !strings.Contains(got, want+"\n") {
			t.Errorf("no %s in\n%s", want, got)
		}
	}
	if got := scrape(again); got != "" {
		t.Errorf("counted twice: %s", got)
	}
}

func scrape(r *prometheus.Registry) string {
	w := httptest.NewRecorder()
	promhttp.HandlerFor(r, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	return w.Body.String()
}
