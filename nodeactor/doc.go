// Package nodeactor supervises the Pods of one node.
package nodeactor
