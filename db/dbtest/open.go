//go:build !js

package dbtest

import (
	"testing"

	"github.com/weftdb/weft/db/replica"
	"github.com/weftdb/weft/internal/store/engines"
)

// Open returns a database in a store of its own, in a directory of the test's,
// that writes the log that name stands for. The test's end closes it.
func Open(t testing.TB, name string) (*replica.Replica, *Journal) {
	t.Helper()
	st, err := engines.Open(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	return OpenIn(t, st, name)
}
