//go:build slow

package node_test

import "testing"

func TestSlowThousandDatabases(t *testing.T) { manyDatabases(t, 1000) }
