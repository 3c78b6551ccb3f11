//go:build slow

package engines_test

import "testing"

func TestSlowFaults(t *testing.T) { damageAll(t, "badger4", 3) }
