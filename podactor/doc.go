// Package podactor supervises the containers of one Pod.
package podactor
