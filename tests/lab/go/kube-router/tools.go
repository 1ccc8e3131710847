//go:build tools

// Package tools records the program that is built straight from its own
// module, so that go.mod and go.sum cover its dependencies.
package tools

import _ "github.com/cloudnativelabs/kube-router/v2/cmd/kube-router"
