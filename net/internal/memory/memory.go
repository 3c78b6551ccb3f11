// Package memory is what a host remembers of its exchange with others, in its store,
// under keys that begin with "nx":
//
//	nxs ‖ thread ID             Origin: how this host came to the thread
//	nxb ‖ thread ID ‖ peer ID   cursor of the blobs seen at the peer
//	nxp ‖ peer ID               addresses of a peer of some thread
//
// Values are canonical CBOR. What is put is durable with the next sync of
// anything, unless a method says otherwise.
package memory

import (
	"errors"
	"fmt"
	"iter"

	"github.com/weftdb/weft/internal/canonical"
	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/net/internal/format"
)

const (
	prefixOrigin = "nxs"
	prefixCursor = "nxb"
	prefixPeer   = "nxp"
)

// values encodes what is remembered. What this host cannot have written is damage, and no
// fault of a peer.
var values = canonical.New(canonical.Options{Elements: 1 << 10, Nesting: 4, Malformed: store.ErrCorrupt, TooLarge: store.ErrCorrupt})

// A Memory is what one host remembers. It is safe for concurrent use.
type Memory struct{ st store.Store }

// Of returns the memory in a store.
func Of(st store.Store) Memory { return Memory{st} }

// An Origin is how a host came to a thread. The zero value is of one that was made
// here.
type Origin struct {
	_       struct{} `cbor:",toarray"`
	Account []byte   // of a relay's thread; empty: this device is a member
	Invite  []byte   // by which this device joined; its proof
	Proof   []byte
}

// A Peer is where a peer of some thread was.
type Peer struct {
	ID    string   // of libp2p, as bytes; not checked
	Addrs [][]byte // multiaddrs, as bytes; not checked
}

type peerState struct {
	_     struct{} `cbor:",toarray"`
	Addrs [][]byte
}

func originKey(id format.ThreadID) []byte { return append([]byte(prefixOrigin), id[:]...) }

func cursorKey(id format.ThreadID, peer string) []byte {
	return append(append([]byte(prefixCursor), id[:]...), peer...)
}

func peerKey(peer string) []byte { return append([]byte(prefixPeer), peer...) }

// SetOrigin remembers how this host came to a thread. It is durable on return.
func (m Memory) SetOrigin(id format.ThreadID, o Origin) error {
	if err := m.put(originKey(id), o); err != nil {
		return fmt.Errorf("remember thread: %w", err)
	}
	return m.st.Sync()
}

// Origin returns how this host came to a thread, the zero Origin if that is not
// remembered.
func (m Memory) Origin(id format.ThreadID) (o Origin, err error) {
	err = m.get(originKey(id), &o)
	return o, err
}

// SetCursor remembers that all blobs of a peer up to n are held here. It need not be
// durable: an older cursor lists some again.
func (m Memory) SetCursor(id format.ThreadID, peer string, n int64) error {
	return m.put(cursorKey(id, peer), n)
}

// Cursor returns up to where this host has seen the blobs of a peer.
func (m Memory) Cursor(id format.ThreadID, peer string) (int64, error) {
	var n int64
	err := m.get(cursorKey(id, peer), &n)
	return max(n, 0), err
}

// Forget removes the origin and the cursors of a thread.
func (m Memory) Forget(id format.ThreadID) error {
	return m.update(func(tx store.Tx) error {
		return errors.Join(forgetCursors(tx, id), tx.Delete(originKey(id)))
	})
}

// ForgetCursors removes the cursors of a thread: every peer lists all of its blobs again.
func (m Memory) ForgetCursors(id format.ThreadID) error {
	return m.update(func(tx store.Tx) error { return forgetCursors(tx, id) })
}

// ForgetAllCursors removes the cursors of all threads: a store that may have lost blobs
// asks for what it had once more.
func (m Memory) ForgetAllCursors() error { return store.DeleteAll(m.st, []byte(prefixCursor)) }

func forgetCursors(tx store.Tx, id format.ThreadID) error {
	var doomed [][]byte
	it := tx.Iterate(store.Range{Lower: cursorKey(id, ""), Upper: store.PrefixEnd(cursorKey(id, "")), KeysOnly: true})
	for ; it.Valid(); it.Next() {
		doomed = append(doomed, append([]byte(nil), it.Key()...))
	}
	err := it.Err()
	it.Close()
	for _, k := range doomed {
		err = errors.Join(err, tx.Delete(k))
	}
	return err
}

// SetPeer remembers where a peer is.
func (m Memory) SetPeer(p Peer) error { return m.put(peerKey(p.ID), peerState{Addrs: p.Addrs}) }

// Peers yields the peers that are remembered. An error that comes with an ID is about
// what is remembered of that peer; without one it is the last.
func (m Memory) Peers() iter.Seq2[Peer, error] {
	return func(yield func(Peer, error) bool) {
		snap := m.st.Snapshot()
		defer snap.Release()
		it := snap.Iterate(store.Prefix([]byte(prefixPeer)))
		defer it.Close()
		for ; it.Valid(); it.Next() {
			v, err := it.Value()
			if err != nil {
				yield(Peer{}, err)
				return
			}
			var st peerState
			err = values.Decode(v, "what is remembered of a peer", &st)
			if !yield(Peer{ID: string(it.Key()[len(prefixPeer):]), Addrs: st.Addrs}, err) {
				return
			}
		}
		if err := it.Err(); err != nil {
			yield(Peer{}, err)
		}
	}
}

// ForgetPeers removes what is remembered of peers.
func (m Memory) ForgetPeers(peers []string) error {
	return m.update(func(tx store.Tx) error {
		for _, p := range peers {
			if err := tx.Delete(peerKey(p)); err != nil {
				return err
			}
		}
		return nil
	})
}

// update commits a small change.
func (m Memory) update(change func(tx store.Tx) error) error {
	tx := m.st.Begin()
	defer tx.Discard()
	if err := change(tx); err != nil {
		return err
	}
	return tx.Commit()
}

func (m Memory) put(key []byte, v any) error {
	b := values.Encode(v)
	return m.update(func(tx store.Tx) error { return tx.Put(key, b) })
}

// get reads a value; it leaves v alone if there is none.
func (m Memory) get(key []byte, v any) error {
	snap := m.st.Snapshot()
	defer snap.Release()
	b, err := snap.Get(key)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return values.Decode(b, "what is remembered of a peer", v)
}
