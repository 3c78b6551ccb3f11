//go:build slow

package pebblekv

import "testing"

// TestSlowPebbleWriteErrors tries a third of the operations, drawn anew each time.
func TestSlowPebbleWriteErrors(t *testing.T) { writeErrors(t, 100) }
