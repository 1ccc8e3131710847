// Package controllers stands in for sigs.k8s.io/mcs-api/controllers, which no module proxy has: it is in a
// repository of its own path that is only to be had from the project's site. Cilium uses this one name of it.
package controllers

// DerivedServiceAnnotation is on a ServiceImport and names the Service made for it; Cilium's documentation
// (Documentation/network/clustermesh/mcsapi.rst) has its value.
const DerivedServiceAnnotation = "multicluster.kubernetes.io/derived-service"
