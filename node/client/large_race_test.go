//go:build race

package client

// largeBytes is less under the race detector, where each byte takes twenty times as long.
const largeBytes = 4 << 20
