//go:build slow

package node_test

import "testing"

func TestBitFlipsSlow(t *testing.T) { bitFlips(t, 15) }
