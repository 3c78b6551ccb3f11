package thread

import (
	"errors"
	"fmt"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/net/internal/format"
	"github.com/weftdb/weft/net/internal/held"
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
		if r := t.graph.Rights(id.Log)[0]; r.Defines() {
			return r.Role, r.Rank, nil
		}
		return 0, nil, nil
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
	h, err := t.rows.Header(snap, l.Num, id)
	if t.ownData != nil && l == t.ownData && errors.Is(err, ErrNotFound) {
		role, rank = t.ownRight() // it is being written
		return role, rank, nil
	}
	if err != nil {
		return 0, nil, fmt.Errorf("role of %s: %w", id, err)
	}
	f := &held.Seen{Log: l, Rows: t.rows, Reader: snap}
	for _, r := range t.graph.Rights(id.Log) {
		if r.Holds(h.Control) && f.Defines(&r, id.Seq) {
			return r.Role, r.Rank, f.Err
		}
	}
	return 0, nil, f.Err
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
	for _, l := range t.ofData {
		if n := t.limitOf(l); n.ruling != (clock.Hash{}) {
			rulings[l.ID] = n.ruling
		}
	}
	return t.graph.State().AuthorityWith(rulings)
}
