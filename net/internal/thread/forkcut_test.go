package thread

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/internal/store/engines"
)

// A forkWorld is an owner, a member with copies of its home that all write, another member and
// a relay.
type forkWorld struct {
	t     *testing.T
	rnd   *rand.Rand
	nodes []*testNode
	ths   []*Thread
	wrote int
	cuts  int
	never int // the one that never prunes
	said  []string

	owned  bool // the owner's home is copied, too
	owners []int
}

func (w *forkWorld) add(n *testNode, th *Thread) int {
	w.nodes, w.ths = append(w.nodes, n), append(w.ths, th)
	return len(w.ths) - 1
}

func (w *forkWorld) note(format string, args ...any) {
	w.said = append(w.said, fmt.Sprintf(format, args...))
}

func (w *forkWorld) fatal(format string, args ...any) {
	w.t.Helper()
	w.t.Fatalf("%s\nafter: %s", fmt.Sprintf(format, args...), strings.Join(w.said, "; "))
}

// pull is pull that lets the other refuse: a run may need what comes by another one.
func (w *forkWorld) pull(to, from int) {
	w.note("%d pulls %d", to, from)
	err := pull(w.t.Context(), w.ths[to], w.ths[from], 1<<20)
	var rej *Rejection
	if err != nil && !errors.As(err, &rej) {
		w.fatal("%d from %d: %v", to, from, err)
	}
	if err != nil {
		w.note("refused: %v", err)
	}
}

// copied opens a copy of a home: the same device, which knows nothing of the other.
func (w *forkWorld) copied(of int) int {
	t, n := w.t, w.nodes[of]
	s, err := engines.OpenMemory()
	if err != nil {
		t.Fatal(err)
	}
	snap := n.env.store.Snapshot()
	defer snap.Release()
	it := snap.Iterate(store.Range{})
	defer it.Close()
	tx := s.Begin()
	for ; it.Valid(); it.Next() {
		v, err := it.Value()
		if err == nil {
			err = tx.Put(slices.Clone(it.Key()), slices.Clone(v))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(it.Err(), tx.Commit()); err != nil {
		t.Fatal(err)
	}
	r := nodeOn(t, s, t.TempDir(), n.env.device, n.env.cert)
	th, err := Open(t.Context(), r.env, w.ths[of].id)
	if err != nil {
		w.fatal("open the copy: %v", err)
	}
	return w.add(r, opened(t, th))
}

func (w *forkWorld) cut(i int) {
	th := w.ths[i]
	if err := th.settleSync(); err != nil {
		w.t.Fatal(err)
	}
	cover, err := th.Cover(th.lastArrival())
	if errors.Is(err, ErrCheckpoint) && len(w.owners) > 1 {
		return // of the other's checkpoint the snapshot is not here
	}
	if err != nil {
		w.fatal("cover: %v", err)
	}
	if cover == nil {
		return
	}
	w.cuts++
	w.note("cut %d by %d", w.cuts, i)
	payload := "(" + strings.Join(counted(w.t, th), " ") + ")"
	err = th.Checkpoint(w.t.Context(), cover, func(add func([]byte) error) (clock.Hash, error) {
		return clock.Hash{9}, add([]byte(payload))
	})
	if err != nil {
		w.fatal("checkpoint: %v", err)
	}
	if err := th.settleSync(); err != nil {
		w.t.Fatal(err)
	}
	if got := counted(w.t, th); len(w.owners) == 1 && !slices.Equal(got, []string{payload}) {
		w.fatal("after the cut %q counts, want %q", got, payload)
	}
}

func (w *forkWorld) step() {
	i := w.rnd.IntN(len(w.ths))
	switch r := w.rnd.IntN(20); {
	case r < 7 && !w.ths[i].relay:
		w.wrote++
		w.note("%d writes %d", i, w.wrote)
		_, err := appendAll(w.nodes[i].env, w.ths[i], fmt.Sprint(w.wrote))
		for errors.Is(err, ErrClock) {
			_, err = appendAll(w.nodes[i].env, w.ths[i], fmt.Sprint(w.wrote))
		}
		if err != nil {
			w.fatal("%d writes: %v", i, err)
		}
	case r < 14:
		if j := w.rnd.IntN(len(w.ths)); i != j {
			w.pull(i, j)
		}
	case r < 15 && len(w.ths) < 7:
		of := 1
		if w.owned && w.rnd.IntN(3) == 0 {
			of = 0
			w.owners = append(w.owners, len(w.ths))
		}
		w.note("%d is copied as %d", of, len(w.ths))
		w.copied(of)
	case r < 16:
		w.cut(w.owners[w.rnd.IntN(len(w.owners))])
	case r < 18 && i != w.never:
		w.note("%d prunes", i)
		if w.rnd.IntN(3) > 0 { // else what others have cut is kept
			longAgo(w.ths[i])
		}
		if _, err := w.ths[i].Prune(w.t.Context()); err != nil {
			w.fatal("%d prunes: %v", i, err)
		}
	case r < 19:
		w.note("%d is opened again", i)
		w.ths[i] = w.nodes[i].reopen(w.t, w.ths[i])
	}
}

// settle has all hear of all, and compares them.
func (w *forkWorld) settle() {
	for range 4 {
		for i := range w.ths {
			for j := range w.ths {
				if i != j {
					w.pull(i, j)
				}
			}
		}
	}
	for i, th := range w.ths {
		if !slices.Equal(th.Sendable(), w.ths[0].Sendable()) {
			w.fatal("%d has the tips %v, the owner %v", i, th.Sendable(), w.ths[0].Sendable())
		}
		if th.relay {
			continue
		}
		if got, want := counted(w.t, th), counted(w.t, w.ths[0]); !slices.Equal(got, want) {
			w.fatal("at %d %q counts, at the owner %q", i, got, want)
		}
		err := error(nil)
		if _, checked := th.Check(w.t.Context(), nil, func(e error) { err = errors.Join(err, e) }, nil); checked != nil || err != nil {
			w.fatal("%d: %v, %v", i, checked, err)
		}
	}
}

// A log that its device forked, before a checkpoint, at it or after it, is cut alike everywhere:
// whatever came in whichever order, where it was deleted and where all is held, after restarts,
// and for who joins later.
func TestForkedLogsAreCutAlike(t *testing.T) {
	seeds := 40
	if testing.Short() {
		seeds = 10
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			w := &forkWorld{t: t, rnd: rand.New(rand.NewPCG(uint64(seed), 9)), never: 2, owned: seed%3 == 2, owners: []int{0}}
			o := newMemoryNode(t)
			to := o.create(t)
			w.add(o, to)
			inv := o.invite(t, to, InviteOptions{Uses: 100})
			for range 2 {
				n := newMemoryNode(t)
				w.add(n, n.join(t, to, inv))
			}
			r := newMemoryNode(t)
			tr := r.adopt(t, to)
			w.add(r, tr)
			for range 70 {
				w.step()
			}
			w.settle()
			n := newMemoryNode(t)
			w.note("%d joins", len(w.ths))
			w.add(n, n.join(t, w.ths[3], inv))
			w.settle()
			w.cut(0)
			w.settle()
			for i := range w.ths {
				longAgo(w.ths[i])
				if _, err := w.ths[i].Prune(t.Context()); err != nil {
					t.Fatal(err)
				}
				w.ths[i] = w.nodes[i].reopen(t, w.ths[i])
			}
			w.settle()
		})
	}
}
