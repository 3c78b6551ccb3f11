package thread

import (
	"errors"
	"slices"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/net/internal/format"
	"github.com/weftdb/weft/net/internal/held"
)

// DataView returns the heads of the data logs that are held and judged, by log, sequence and
// hash, at most limit.
func (t *Thread) DataView(limit int) (view []clock.RecordID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, l := range t.byNum {
		for _, b := range l.Branches {
			if l.Desc.Kind == format.KindData && b.Counts(b.Done.Seq) {
				view = append(view, b.Done)
			}
		}
	}
	slices.SortFunc(view, format.CompareIDs)
	return view[:min(len(view), limit)]
}

// HeldAt returns when a data record that is held was written, by its clock. One beside the
// floor of its log is as if it had not come: others will not have it.
func (t *Thread) HeldAt(id clock.RecordID) (at clock.Time, held bool, err error) {
	t.mu.Lock()
	l := t.logs[id.Log]
	beside := l != nil && id.Seq > l.Floor.Top() && !l.Above(id)
	t.mu.Unlock()
	if l == nil || l.Desc.Kind != format.KindData || beside {
		return 0, false, nil
	}
	snap := t.env.store.Snapshot()
	defer snap.Release()
	h, err := t.rows.Header(snap, l.Num, id)
	if errors.Is(err, ErrNotFound) {
		return 0, false, nil
	}
	return h.Time, err == nil, err
}

// Precedes reports whether a record is head or comes before it in its log, on its branch.
func (t *Thread) Precedes(id, head clock.RecordID) (bool, error) {
	if id.Log != head.Log || id.Seq >= head.Seq {
		return id == head, nil
	}
	t.mu.Lock()
	l := t.logs[id.Log]
	forked := l != nil && l.Forked()
	path := t.paths[head]
	t.mu.Unlock()
	if !forked {
		return true, nil
	}
	if path == nil {
		snap := t.env.store.Snapshot()
		defer snap.Release()
		var err error
		if path, err = t.rows.Path(snap, l.Num, head); err != nil {
			return false, err
		}
		t.mu.Lock()
		if t.paths == nil || len(t.paths) >= maxPaths {
			t.paths = map[clock.RecordID]map[clock.Hash]bool{}
		}
		t.paths[head] = path
		t.mu.Unlock()
	}
	return path[id.Hash], nil
}

// maxPaths bounds the branches of forked logs that are remembered: what precedes a record
// does not change.
const maxPaths = 64

// Unseen returns a time that no data record is earlier than which is held and none of heads,
// nor before one; ok is false if there is none.
func (t *Thread) Unseen(heads []clock.RecordID) (at clock.Time, ok bool, err error) {
	seen := map[clock.LogID][]clock.RecordID{}
	for _, h := range heads {
		seen[h.Log] = append(seen[h.Log], h)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	snap := t.env.store.Snapshot()
	defer snap.Release()
	for _, l := range t.byNum {
		if l.Desc.Kind != format.KindData || len(l.Branches) == 0 {
			continue
		}
		after := uint64(0)
		if of := seen[l.ID]; !l.Forked() {
			for _, h := range of {
				after = max(after, h.Seq)
			}
			if l.Branches[0].Tip.Seq <= after {
				continue
			}
		} else if !slices.ContainsFunc(l.Branches, func(b *held.Branch) bool { return !slices.Contains(of, b.Tip) }) {
			continue
		}
		for _, b := range l.Branches {
			if after = max(after, b.From.Seq); b.Void || b.Tip.Seq <= after {
				continue
			}
			first, err := t.rows.TimeAfter(snap, &l.Log, l.Forked(), b.Tip, after)
			if err != nil {
				return 0, false, err
			}
			if !ok || first < at {
				at, ok = first, true
			}
		}
	}
	return at, ok, nil
}
