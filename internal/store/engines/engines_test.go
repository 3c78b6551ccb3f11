package engines_test

import (
	"errors"
	"testing"

	"go.uber.org/goleak"

	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/internal/store/engines"
	"github.com/weftdb/weft/internal/store/storetest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

func opener(engine string) func(testing.TB, string) store.Store {
	return func(t testing.TB, dir string) store.Store {
		t.Helper()
		s, err := engines.Open(dir, &engines.Options{Engine: engine, Logf: t.Logf})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
}

func TestBadger(t *testing.T) {
	storetest.Run(t, opener("badger"))
	storetest.Durable(t, opener("badger"), 0)
}

func TestPebble(t *testing.T) {
	storetest.Run(t, opener("pebble"))
	storetest.Durable(t, opener("pebble"), 4*4<<20) // it reuses its last logs
}

func TestMemory(t *testing.T) {
	storetest.Run(t, func(t testing.TB, _ string) store.Store {
		s, err := engines.OpenMemory()
		if err != nil {
			t.Fatal(err)
		}
		return s
	})
}

func TestOpenErrors(t *testing.T) {
	dir := t.TempDir()
	if _, err := engines.Open(dir, &engines.Options{Engine: "leveldb"}); err == nil {
		t.Error("got no error for an unknown engine")
	}
	for _, engine := range engines.Names() {
		dir := t.TempDir()
		s := opener(engine)(t, dir)
		if _, err := engines.Open(dir, &engines.Options{Engine: engine}); !errors.Is(err, store.ErrLocked) {
			t.Errorf("%s: got %v, want ErrLocked", engine, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		other := map[bool]string{true: "pebble", false: "badger"}[engine != "pebble"]
		if _, err := engines.Open(dir, &engines.Options{Engine: other}); err == nil {
			t.Errorf("got no error opening a %s store with %s", engine, other)
		}
	}
}
