//go:build slow

package engines_test

import (
	"testing"

	"github.com/weftdb/weft/internal/store/engines"
)

func TestSlowFaults(t *testing.T) {
	for _, engine := range engines.Names() {
		damageAll(t, engine, 2)
	}
}
