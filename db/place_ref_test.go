package db

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/weftdb/weft/db/internal/fold"
	"github.com/weftdb/weft/db/internal/journal"
	"github.com/weftdb/weft/db/internal/judge"
	"github.com/weftdb/weft/db/internal/payload"
	"github.com/weftdb/weft/internal/clock"
)

// A referenceHorizon is a horizon, as docs/design/places.md has it, by brute force.
type referenceHorizon struct {
	rec  *journal.Record
	rank []byte
	sees map[*referenceHorizon]bool
}

func (h *referenceHorizon) names(x clock.RecordID) bool {
	if x.Log == h.rec.ID.Log {
		return x.Seq < h.rec.ID.Seq
	}
	return slices.ContainsFunc(h.rec.Horizon.View, func(g clock.RecordID) bool { return g == x || g.Log == x.Log && x.Seq < g.Seq })
}

func (h *referenceHorizon) saw(x *journal.Record) bool {
	return x.Clock < h.rec.Clock && h.names(x.ID)
}

func (h *referenceHorizon) t() clock.Time { return h.rec.Horizon.T }

// ruledBy reports whether an author is the horizon's senior, or of its identity.
func (h *referenceHorizon) ruledBy(writer string, rank []byte) bool {
	return writer == h.rec.Writer || bytes.Compare(rank, h.rank) < 0
}

func referenceRank(right func(clock.RecordID) string, id clock.RecordID) []byte {
	n := slices.Index([]string{judge.RoleOwner, judge.RoleAdmin}, right(id))
	return append([]byte{byte(n & 3)}, id.Log[:]...)
}

// referencePlaces puts records where horizons among them say, and sorts them.
func referencePlaces(recs []*journal.Record, entries []journal.Entry, c fold.Cut, right func(clock.RecordID) string) {
	held := map[clock.RecordID]clock.Time{}
	for _, e := range entries {
		held[e.ID] = e.Time
	}
	byClock := func(a, b *journal.Record) int {
		return clock.Stamp{Time: a.Clock, Log: a.ID.Log, Hash: a.ID.Hash}.Compare(clock.Stamp{Time: b.Clock, Log: b.ID.Log, Hash: b.ID.Hash})
	}
	slices.SortFunc(recs, byClock)
	var hs []*referenceHorizon
	for _, rec := range recs {
		if rec.Horizon == nil || rec.Bad != nil || right(rec.ID) != judge.RoleOwner && right(rec.ID) != judge.RoleAdmin {
			continue
		}
		h := &referenceHorizon{rec: rec, rank: referenceRank(right, rec.ID), sees: map[*referenceHorizon]bool{}}
		whole := !slices.ContainsFunc(rec.Horizon.View, func(g clock.RecordID) bool {
			at, ok := held[g]
			return !c.Void[g.Log].Below(g) && (!ok || at >= rec.Clock)
		})
		for _, o := range hs {
			if h.saw(o.rec) {
				h.sees[o] = true
				for p := range o.sees {
					h.sees[p] = true
				}
			}
		}
		thin := slices.ContainsFunc(hs, func(o *referenceHorizon) bool {
			last := h.sees[o] && !slices.ContainsFunc(hs, func(p *referenceHorizon) bool { return h.sees[p] && p.sees[o] })
			return last && (o.t() > h.t() || slices.ContainsFunc(o.rec.Horizon.View, func(g clock.RecordID) bool { return !c.Voids(g, false) && !h.names(g) }))
		})
		if whole && !thin && h.t() < rec.Clock {
			hs = append(hs, h)
		}
	}
	for _, x := range recs {
		if !x.Moves() {
			continue
		}
		rank := referenceRank(right, x.ID)
		for _, h := range hs {
			senior := bytes.Compare(rank, h.rank) < 0 && x.Writer != h.rec.Writer
			if h.t() < x.Clock || h.saw(x) || senior {
				continue
			}
			kept := slices.ContainsFunc(hs, func(o *referenceHorizon) bool {
				return o.t() >= x.Clock && h.ruledBy(o.rec.Writer, o.rank) && o.saw(x) && !o.sees[h] && !h.sees[o] &&
					!slices.ContainsFunc(hs, func(z *referenceHorizon) bool {
						return z.t() >= x.Clock && o.ruledBy(z.rec.Writer, z.rank) && z.saw(x) && z.sees[h] && !z.sees[o]
					})
			})
			if !kept {
				x.Time = max(x.Time, h.t()+1)
			}
		}
	}
	slices.SortStableFunc(recs, func(a, b *journal.Record) int { return cmp.Or(cmp.Compare(a.Time, b.Time), byClock(a, b)) })
}

// EncodeHorizon encodes a horizon.
func EncodeHorizon(t clock.Time, view []clock.RecordID) []byte {
	view = slices.Clone(view)
	slices.SortFunc(view, payload.CompareHeads)
	return payload.EncodeHorizon(&payload.Horizon{T: t, View: slices.Compact(view)})
}
