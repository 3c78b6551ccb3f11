package thread

import (
	"slices"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/net/internal/format"
	"github.com/weftdb/weft/net/internal/held"
)

// Tips returns the tips of all branches of all logs, sorted: what this node has
// and need not be sent.
func (t *Thread) Tips() []clock.RecordID {
	return t.collect(func(b *held.Branch) clock.RecordID { return b.Tip })
}

// Sendable is like Tips, of what may be sent: signed, and durable here; data
// also folded, on a member.
func (t *Thread) Sendable() []clock.RecordID {
	return t.collect(func(b *held.Branch) clock.RecordID { return b.Sent })
}

// ackable is like Tips, of what is durable here and, on a member, folded.
func (t *Thread) ackable() []clock.RecordID {
	return t.collect(func(b *held.Branch) clock.RecordID { return b.Flushed })
}

// collect returns a position of each branch, sorted, but for those that are cut off:
// whoever lacks them needs the snapshot instead. What a device wrote after it was removed is
// named to nobody.
func (t *Thread) collect(of func(*held.Branch) clock.RecordID) []clock.RecordID {
	t.mu.Lock()
	defer t.mu.Unlock()
	ids := make([]clock.RecordID, 0, len(t.byID))
	for _, l := range t.byID {
		first := len(ids)
		for _, b := range l.Branches {
			id := of(b)
			if top := t.limitOf(l).top; id.Seq > top.Seq {
				if id = l.SignedUpTo(t.rows, t.env.store, b, top); id.Seq == 0 {
					continue
				}
			}
			if b.Counts(id.Seq) {
				ids = append(ids, id)
			}
		}
		slices.SortFunc(ids[first:], format.CompareIDs)
	}
	return slices.Compact(ids)
}

// Start returns the position after which a log can be sent.
func (t *Thread) Start(log clock.LogID) uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	seq := t.cuts.floors[log].Lowest()
	if l := t.logs[log]; l != nil {
		seq = max(seq, l.Start())
	}
	return seq
}

// IsControl reports whether a log that is held is a control log.
func (t *Thread) IsControl(log clock.LogID) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.logs[log]
	return l != nil && l.Desc.Kind == format.KindControl
}

// Forked reports whether a log has several branches, or goes on after several heads.
func (t *Thread) Forked(log clock.LogID) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.logs[log]
	return l != nil && (l.Forked() || len(l.Floor) > 1)
}

// Changed returns a channel that is closed when Tips, Sendable or what may be
// acknowledged change after the call.
func (t *Thread) Changed() <-chan struct{} { return t.grew.Wait() }

// maxRun is what a run of several records may hold, so that it fits in a frame.
const maxRun = format.MaxFrame - 16<<10

// ReadRun returns the records after `after` on the branch that ends in tip, up to
// a signed position that is tip or earlier and, if there is one, within maxBytes.
// A run without records says that there is no such position after `after`.
func (t *Thread) ReadRun(tip clock.RecordID, after uint64, maxBytes int) (format.Run, error) {
	t.mu.Lock()
	l := t.logs[tip.Log]
	if l == nil || len(l.Branches) == 0 {
		t.mu.Unlock()
		return format.Run{}, fault.Of(ErrNotFound, "no log %s", tip.Log.Short())
	}
	snap := t.env.store.Snapshot()
	defer snap.Release()
	forked := l.Forked()
	b, err := l.LineOf(t.rows, snap, tip)
	if err == nil {
		after = max(after, b.From.Seq)
	}
	t.mu.Unlock()
	if err != nil {
		return format.Run{}, err
	}
	r := format.Run{Descriptor: l.Raw}
	signed, size := 0, 0
	err = t.rows.Walk(snap, &l.Log, forked, tip, after, func(_ clock.RecordID, s format.Stored) (bool, error) {
		size += s.Size() + 6
		if signed > 0 && (size > maxBytes || size > maxRun) {
			return false, nil
		}
		r.Records = append(r.Records, format.Record{Header: slices.Clone(s.Header), Body: slices.Clone(s.Body)})
		if s.Signed {
			signed, r.Signature = len(r.Records), s.Signature
		}
		return signed < len(r.Records) || size < maxBytes, nil
	})
	if err != nil {
		return format.Run{}, err
	}
	r.Records = r.Records[:signed]
	return r, nil
}
