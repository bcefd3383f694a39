// Package strictyaml decodes YAML and JSON files that people write, and says of each problem in which line and field it is.
//
// It is strict as the API server is with fieldValidation=Strict: unknown fields, fields given twice and values of the
// wrong type are problems, and all of them are reported, not just the first. What a scalar means is decided by the same
// YAML library that Kubernetes uses.
package strictyaml
