// Package metrics counts what the actor tree does, for Prometheus. Names that a kubelet has too keep the kubelet's name,
// labels and meaning, so that dashboards work; all others begin with wazlet_.
//
// Counters are fed by Observe from the event stream; gauges are read from the registry and the list of Pods at each
// scrape. Nothing is registered globally.
package metrics
