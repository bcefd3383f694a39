//go:build !linux

package ctl

// oPath has no like: only Linux runs nodes.
const oPath = 0
