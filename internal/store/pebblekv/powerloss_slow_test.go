//go:build slow

package pebblekv

import "testing"

func TestSlowPowerLossAnywhere(t *testing.T) { losePower(t, 2000) }
