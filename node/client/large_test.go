//go:build !race

package client

const largeBytes = 50 << 20
