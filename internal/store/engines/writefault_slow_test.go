//go:build slow

package engines_test

import "testing"

func TestSlowPebbleWriteErrors(t *testing.T) { writeErrors(t, 50) }
