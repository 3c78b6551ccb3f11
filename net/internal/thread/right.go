package thread

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/net/internal/control"
	"github.com/weftdb/weft/net/internal/format"
)

// RightOf returns the role by which a data record counts that changes what is defined, and
// its author's seniority: of the most senior right that covers it; 0 if none does. Unlike an
// operation, it has to have seen what gave that role. The zero ID is the next own record.
// [Thread.Authority] says whether the answer may have changed.
func (t *Thread) RightOf(id clock.RecordID) (role format.Role, rank []byte, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if id == (clock.RecordID{}) {
		role, rank = t.ownRight()
		return role, rank, nil
	}
	if t.graph.Plain(id.Log) {
		r := t.graph.Rights(id.Log)[0]
		return r.Role, r.Rank, nil
	}
	l := t.logs[id.Log]
	if l == nil {
		return 0, nil, nil
	}
	if n := t.limitOf(l); n.single {
		if i := n.by[id.Hash]; i > 0 {
			return n.rights[i-1].Role, n.rights[i-1].Rank, nil
		}
		return 0, nil, nil
	}
	snap := t.env.store.Snapshot()
	defer snap.Release()
	s, err := t.rows.Record(snap, l.Num, id)
	if t.ownData != nil && l == t.ownData && errors.Is(err, ErrNotFound) {
		role, rank = t.ownRight() // it is being written
		return role, rank, nil
	}
	if err != nil {
		return 0, nil, fmt.Errorf("role of %s: %w", id, err)
	}
	h, err := format.DecodeHeader(s.Header)
	if err != nil {
		return 0, nil, fmt.Errorf("stored record: %w", err)
	}
	f := &limitFinder{t: t, l: l, r: snap}
	for _, r := range t.graph.Rights(id.Log) {
		if r.Holds(h.Control) && f.covers(&r, id.Seq) {
			return r.Role, r.Rank, f.err
		}
	}
	return 0, nil, f.err
}

// ownRight is RightOf the next own record.
func (t *Thread) ownRight() (format.Role, []byte) {
	if t.ownControl == nil {
		return 0, nil
	}
	return t.graph.RoleNow(t.ownControl.ID)
}

// Authority returns a hash of what the answers of RightOf follow from.
func (t *Thread) Authority() clock.Hash {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.authority()
}

// authority is Authority, with mu held: what the control records say, and of logs that count
// by several roles, which records that are held do by which.
func (t *Thread) authority() clock.Hash {
	rulings := map[clock.LogID]clock.Hash{}
	for _, l := range t.byNum {
		if n := t.limitOf(l); n.ruling != (clock.Hash{}) {
			rulings[l.ID] = n.ruling
		}
	}
	all := t.graph.State().Authority()
	if len(rulings) == 0 {
		return all
	}
	h := sha256.New()
	h.Write(all[:])
	for _, log := range slices.SortedFunc(maps.Keys(rulings), func(a, b clock.LogID) int { return bytes.Compare(a[:], b[:]) }) {
		r := rulings[log]
		h.Write(log[:])
		h.Write(r[:])
	}
	return clock.Hash(h.Sum(nil))
}

// ruling hashes which records of a log count by which of several rights.
func (f *limitFinder) ruling(rights []control.Right, single map[clock.Hash]int) clock.Hash {
	h := sha256.New()
	if single != nil {
		for _, id := range slices.SortedFunc(maps.Keys(single), format.CompareHashes) {
			r := &rights[single[id]-1]
			h.Write(append(append(id[:], byte(r.Role)), r.Rank...))
		}
		return clock.Hash(h.Sum(nil))
	}
	for i := range rights {
		s := f.spanOf(&rights[i])
		h.Write(binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64([]byte{byte(rights[i].Role)}, s.First), s.Last))
	}
	return clock.Hash(h.Sum(nil))
}
