package storetest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/weftdb/weft/internal/store"
)

// A Machine is a disk with a store on it that can lose its power.
type Machine interface {
	// Open opens the store as it is on the disk.
	Open(t testing.TB) store.Store
	// Lose returns the machine as it would be after a loss of power now, while the
	// store is in use: with all that was synced, and with none or some of the rest.
	Lose(t testing.TB, r *rand.Rand) Machine
}

// PowerLoss takes the power from a machine at random points of concurrent writers,
// again and again. Each time, all that a Sync had returned for is there, and no
// transaction is there in part, synced or not.
func PowerLoss(t *testing.T, m Machine, rounds int) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	acked := make([]int, killWriter)
	for round := range rounds {
		m = loseOnce(t, m, r, acked)
		s := m.Open(t)
		for w := range killWriter {
			last, err := lastWhole(s, w)
			if err != nil {
				t.Fatalf("round %d: %v", round, err)
			}
			if last < acked[w] {
				t.Fatalf("round %d: writer %d: got transaction %d, want at least %d, which was synced", round, w, last, acked[w])
			}
			acked[w] = last // what came back is on the disk
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d rounds, up to transactions %v", rounds, acked)
}

// loseOnce runs writers until a random number of syncs, and takes the power while
// they go on. acked holds each writer's last synced transaction then.
func loseOnce(t *testing.T, m Machine, r *rand.Rand, acked []int) Machine {
	s := m.Open(t)
	var mu sync.Mutex // guards acked, syncs
	var wg sync.WaitGroup
	syncs, enough, over := 0, make(chan struct{}), make(chan struct{})
	target := 1 + r.IntN(40)
	for w := range killWriter {
		start := acked[w]
		wg.Go(func() {
			n := start
			for {
				err := writeSome(s, w, &n, over)
				if err != nil {
					if !errors.Is(err, errOver) {
						t.Error(err)
					}
					return
				}
				mu.Lock()
				acked[w] = n
				if syncs++; syncs == target {
					close(enough)
				}
				mu.Unlock()
			}
		})
	}
	<-enough
	mu.Lock()
	synced := append([]int(nil), acked...)
	mu.Unlock()
	after := m.Lose(t, r)
	close(over)
	wg.Wait()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	copy(acked, synced)
	return after
}

var errOver = errors.New("the power is gone")

// writeSome commits one to three transactions after *n, and syncs.
func writeSome(s store.Store, w int, n *int, over <-chan struct{}) error {
	for range 1 + (*n+w)%3 {
		select {
		case <-over:
			return errOver
		default:
		}
		*n++
		tx := s.Begin()
		for i := range killPuts {
			if err := tx.Put(killKey(w, i), killValue(*n, i)); err != nil {
				tx.Discard()
				return fmt.Errorf("put: %w", err)
			}
		}
		if err := tx.Commit(); err != nil {
			return fmt.Errorf("commit: %w", err)
		}
	}
	return s.Sync()
}
