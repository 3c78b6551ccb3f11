//go:build slow

package engines_test

import "testing"

// TestSlowPebbleWriteErrors tries every operation.
func TestSlowPebbleWriteErrors(t *testing.T) { writeErrors(t, 1<<30) }
