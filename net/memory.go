package net

import (
	"errors"
	"fmt"
	"slices"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"

	"github.com/weftdb/weft/internal/fault"
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

// maxKeptAddrs is how many addresses of a peer are remembered.
const maxKeptAddrs = 16

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
		if len(st.Addrs) < maxKeptAddrs {
			st.Addrs = append(st.Addrs, a.Bytes())
		}
	}
	if len(st.Addrs) == 0 {
		return nil
	}
	return h.put(peerKey(p), st)
}

// Remembered returns the addresses of the peers that shared a thread with this host,
// each with the peer's ID.
func (h *Host) Remembered() ([]multiaddr.Multiaddr, error) {
	var out []multiaddr.Multiaddr
	err := h.eachPeer(func(_ []byte, p peer.ID, addrs []multiaddr.Multiaddr) {
		all, err := peer.AddrInfoToP2pAddrs(&peer.AddrInfo{ID: p, Addrs: addrs})
		if err == nil {
			out = append(out, all...)
		}
	})
	return out, err
}

// Expect dials a peer at an address that ends in its ID, until it answers, as one
// that shared a thread with this host before.
func (h *Host) Expect(addr multiaddr.Multiaddr) error {
	info, err := peer.AddrInfoFromP2pAddr(addr)
	if err != nil {
		return fault.Errorf(fault.InvalidArgument, "address %v: %w", addr, err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed || info.ID == h.ID() {
		return nil
	}
	h.keepConnected(h.remote(info.ID), info.Addrs)
	return nil
}

// wantPeers dials the members that shared a thread with this host before, and forgets
// who is no member any more. Where a thread does not tell its members, as the store
// has lost something, nobody is forgotten.
func (h *Host) wantPeers() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	forgets := !h.lost
	for _, s := range h.shares {
		forgets = forgets && (s.relay || len(s.thread.Members()) > 0)
	}
	var gone [][]byte
	n := 0
	err := h.eachPeer(func(key []byte, p peer.ID, addrs []multiaddr.Multiaddr) {
		device, err := DeviceOf(p)
		if forgets && (err != nil || h.members[device] == 0) {
			gone = append(gone, slices.Clone(key))
			return
		}
		if n++; n <= maxKept {
			h.keepConnected(h.remote(p), addrs)
		}
	})
	if err != nil || len(gone) == 0 {
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

// eachPeer calls f with the remembered peers and their keys.
func (h *Host) eachPeer(f func(key []byte, p peer.ID, addrs []multiaddr.Multiaddr)) error {
	snap := h.opt.Store.Snapshot()
	defer snap.Release()
	it := snap.Iterate(store.Prefix([]byte(prefixPeer)))
	defer it.Close()
	for ; it.Valid(); it.Next() {
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
		f(it.Key(), p, addrs)
	}
	return it.Err()
}
