//go:build slow

package net

import "testing"

func TestSlowThreeHundredThreadsOfAPair(t *testing.T) {
	for _, transport := range []string{"tcp", "udp"} {
		t.Run(transport, func(t *testing.T) { manyThreads(t, transport, 300) })
	}
}

func TestSlowHundredDevicesOfARelay(t *testing.T) {
	for _, transport := range []string{"tcp", "udp"} {
		t.Run(transport, func(t *testing.T) { manyDevices(t, transport, 100) })
	}
}
