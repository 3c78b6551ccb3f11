package net

import (
	"errors"
	"fmt"
	"slices"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"

	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/keys"
)

// What the exchange remembers, under keys that begin with "nx":
//
//	nxs ‖ thread ID             shareState: how this host came to the thread
//	nxb ‖ thread ID ‖ peer ID   u64be: cursor of the blobs seen at the peer
//	nxp ‖ peer ID               addresses of a peer of some thread
const (
	prefixShare  = "nxs"
	prefixCursor = "nxb"
	prefixPeer   = "nxp"
)

type shareState struct {
	_       struct{} `cbor:",toarray"`
	Account []byte   // of a relay's thread; empty: this device is a member
	Invite  []byte   // by which this device joined; its proof
	Proof   []byte
}

type peerState struct {
	_     struct{} `cbor:",toarray"`
	Addrs [][]byte
}

func shareKey(id ThreadID) []byte { return append([]byte(prefixShare), id[:]...) }

func cursorKey(id ThreadID, p peer.ID) []byte {
	return append(append([]byte(prefixCursor), id[:]...), p...)
}

func peerKey(p peer.ID) []byte { return append([]byte(prefixPeer), p...) }

// update commits a small change. It is durable after the next sync.
func (h *Host) update(change func(tx store.Tx) error) error {
	tx := h.opt.Store.Begin()
	defer tx.Discard()
	if err := change(tx); err != nil {
		return err
	}
	return tx.Commit()
}

// put stores a value; it is durable with the next sync of anything.
func (h *Host) put(key []byte, v any) error {
	b := messages.Encode(v)
	return h.update(func(tx store.Tx) error { return tx.Put(key, b) })
}

// get reads a value; it leaves v alone if there is none.
func (h *Host) get(key []byte, v any) error {
	snap := h.opt.Store.Snapshot()
	defer snap.Release()
	b, err := snap.Get(key)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return decodeMessage(b, v)
}

// save remembers how this host came to the thread, durably.
func (s *share) save() error {
	st := shareState{Invite: s.invite, Proof: s.proof}
	if s.relay {
		st.Account = append([]byte(nil), s.account[:]...)
	}
	if err := s.host.put(shareKey(s.thread.ID()), st); err != nil {
		return fmt.Errorf("remember thread: %w", err)
	}
	return s.host.opt.Store.Sync()
}

// load is the inverse of save.
func (s *share) load() error {
	var st shareState
	if err := s.host.get(shareKey(s.thread.ID()), &st); err != nil {
		return fmt.Errorf("thread %s: %w", s.thread.ID(), err)
	}
	s.invite, s.proof = st.Invite, st.Proof
	if len(st.Account) == len(s.account) {
		s.relay, s.account = true, keys.PublicKey(st.Account)
	}
	return nil
}

// forget removes what save and the cursors keep.
func (s *share) forget() error {
	id := s.thread.ID()
	return s.host.update(func(tx store.Tx) error {
		var doomed [][]byte
		it := tx.Iterate(store.Range{Lower: cursorKey(id, ""), Upper: store.PrefixEnd(cursorKey(id, "")), KeysOnly: true})
		for ; it.Valid(); it.Next() {
			doomed = append(doomed, append([]byte(nil), it.Key()...))
		}
		err := it.Err()
		it.Close()
		for _, k := range append(doomed, shareKey(id)) {
			err = errors.Join(err, tx.Delete(k))
		}
		return err
	})
}

// blobCursor returns up to where this host has seen the blobs of a peer.
func (s *share) blobCursor(p peer.ID) (int64, error) {
	var n int64
	err := s.host.get(cursorKey(s.thread.ID(), p), &n)
	return max(n, 0), err
}

// setBlobCursor remembers that all blobs of a peer up to n are held here. It need
// not be durable: an older cursor lists some again.
func (s *share) setBlobCursor(p peer.ID, n int64) error {
	return s.host.put(cursorKey(s.thread.ID(), p), n)
}

// rememberPeer keeps the addresses of a peer that shares a thread, so that it
// is dialled after a restart.
func (h *Host) rememberPeer(p peer.ID) error {
	st := peerState{}
	for _, a := range h.lp.Peerstore().Addrs(p) {
		if len(st.Addrs) < maxAnnouncedAt {
			st.Addrs = append(st.Addrs, a.Bytes())
		}
	}
	if len(st.Addrs) == 0 {
		return nil
	}
	return h.put(peerKey(p), st)
}

// wantPeers dials the members that shared a thread with this host before, and forgets
// who is no member any more.
func (h *Host) wantPeers() error {
	snap := h.opt.Store.Snapshot()
	defer snap.Release()
	it := snap.Iterate(store.Prefix([]byte(prefixPeer)))
	defer it.Close()
	h.mu.Lock()
	defer h.mu.Unlock()
	var gone [][]byte
	for n := 0; it.Valid(); it.Next() {
		var st peerState
		v, err := it.Value()
		if err != nil {
			return err
		}
		p, err := peer.IDFromBytes(it.Key()[len(prefixPeer):])
		if err != nil {
			return fmt.Errorf("remembered peer: %w", err)
		}
		if err := decodeMessage(v, &st); err != nil {
			return fmt.Errorf("remembered peer %s: %w", p, err)
		}
		var addrs []multiaddr.Multiaddr
		for _, b := range st.Addrs {
			if a, err := multiaddr.NewMultiaddrBytes(b); err == nil {
				addrs = append(addrs, a)
			}
		}
		device, err := DeviceOf(p)
		if err != nil || h.members[device] == 0 {
			gone = append(gone, slices.Clone(it.Key()))
			continue
		}
		if n++; n <= maxKept {
			h.keepConnected(h.remote(p), addrs)
		}
	}
	if err := it.Err(); err != nil || len(gone) == 0 {
		return err
	}
	return h.update(func(tx store.Tx) error {
		for _, k := range gone {
			if err := tx.Delete(k); err != nil {
				return err
			}
		}
		return nil
	})
}
