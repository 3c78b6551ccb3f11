package memory

import (
	"bytes"
	"errors"
	"testing"

	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/internal/store/engines"
	"github.com/weftdb/weft/internal/vectors"
	"github.com/weftdb/weft/net/internal/format"
)

func open(t *testing.T) (Memory, store.Store) {
	t.Helper()
	st, err := engines.Open(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	return Of(st), st
}

// What is remembered of a thread goes with it, and that of others stays.
func TestThreads(t *testing.T) {
	m, _ := open(t)
	one, other := format.ThreadID{1}, format.ThreadID{2}
	for _, id := range []format.ThreadID{one, other} {
		if err := errors.Join(m.SetOrigin(id, Origin{Account: []byte{7}, Invite: []byte{8}, Proof: []byte{9}}), m.SetCursor(id, "a", 3), m.SetCursor(id, "b", 4)); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.Forget(one); err != nil {
		t.Fatal(err)
	}
	for id, want := range map[format.ThreadID]int64{one: 0, other: 4} {
		o, err := m.Origin(id)
		if err != nil || (len(o.Account) > 0) != (want > 0) || (len(o.Proof) > 0) != (want > 0) {
			t.Errorf("%v: got %+v, %v", id, o, err)
		}
		if n, err := m.Cursor(id, "b"); err != nil || n != want {
			t.Errorf("%v: got cursor %d, %v, want %d", id, n, err, want)
		}
	}
}

func TestPeers(t *testing.T) {
	m, st := open(t)
	for _, p := range []string{"a", "b", "c"} {
		if err := m.SetPeer(Peer{ID: p, Addrs: [][]byte{[]byte(p)}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.ForgetPeers([]string{"b", "nobody"}); err != nil {
		t.Fatal(err)
	}
	if err := m.update(func(tx store.Tx) error { return tx.Put(peerKey("c"), []byte{0xff}) }); err != nil {
		t.Fatal(err)
	}
	var ids string
	for p, err := range m.Peers() {
		ids += p.ID
		if errors.Is(err, store.ErrCorrupt) != (p.ID == "c") {
			t.Errorf("%s: %v", p.ID, err)
		}
		if p.ID == "a" && !bytes.Equal(p.Addrs[0], []byte("a")) {
			t.Errorf("a is at %q", p.Addrs)
		}
	}
	if ids != "ac" {
		t.Errorf("got peers %q, want a and c", ids)
	}
	snap := st.Snapshot()
	defer snap.Release()
	if _, err := snap.Get([]byte("nxpa")); err != nil {
		t.Errorf("the key of a peer is another: %v", err)
	}
}

// Values are those of stores that exist: they cannot change.
func TestVectors(t *testing.T) {
	o := Origin{Account: bytes.Repeat([]byte{7}, 32), Invite: []byte{1}, Proof: []byte{2}}
	p := peerState{Addrs: [][]byte{{1}}}
	vectors.Check(t, "memory", "docs/design/sync.md, what the store remembers",
		vectors.Vector{Name: "origin", Values: o, Bytes: values.Encode(o), Back: func(b []byte) (any, error) {
			var back Origin
			return &back, values.Decode(b, "origin", &back)
		}},
		vectors.Vector{Name: "peer", Values: p, Bytes: values.Encode(p), Back: func(b []byte) (any, error) {
			var back peerState
			return &back, values.Decode(b, "peer", &back)
		}},
	)
}
