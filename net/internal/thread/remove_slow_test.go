//go:build slow

package thread

import "testing"

// Long: many histories of what devices do about each other.
func TestSlowMembership(t *testing.T) {
	for seed := range uint64(600) {
		membershipHistory(t, 1000+seed)
	}
}
