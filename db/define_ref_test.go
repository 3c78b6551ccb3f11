package db

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/weftdb/weft/db/internal/fold"
	"github.com/weftdb/weft/db/internal/journal"
	"github.com/weftdb/weft/db/internal/judge"
	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/clock"
)

// A referenceLink is a definition, as docs/design/authority.md has it, by brute force.
type referenceLink struct {
	rec   *journal.Record
	role  string
	whole bool
	code  keyspace.Code
	next  keyspace.State
}

func (l *referenceLink) key() []byte { return l.rec.Ops[0].Key }

func (l *referenceLink) saw(x clock.RecordID) bool {
	if x.Log == l.rec.ID.Log {
		return x.Seq < l.rec.ID.Seq
	}
	return l.whole && slices.ContainsFunc(l.rec.View, func(h clock.RecordID) bool { return h == x || h.Log == x.Log && x.Seq < h.Seq })
}

func (l *referenceLink) senior(o *referenceLink) bool {
	rank := func(l *referenceLink) int {
		return slices.Index([]string{judge.RoleOwner, judge.RoleAdmin}, l.role) & 3
	}
	return cmp.Or(cmp.Compare(rank(l), rank(o)), bytes.Compare(l.rec.ID.Log[:], o.rec.ID.Log[:]), bytes.Compare(l.rec.ID.Hash[:], o.rec.ID.Hash[:])) < 0
}

// holding returns which of some links that count no concurrent senior one beats, and what
// they give, one after the other.
func holding(links []*referenceLink, state keyspace.State) (holds []*referenceLink, _ keyspace.State) {
	for _, l := range links {
		beaten := slices.ContainsFunc(links, func(o *referenceLink) bool {
			return o != l && o.senior(l) && !o.saw(l.rec.ID) && !l.saw(o.rec.ID)
		})
		if beaten {
			continue
		}
		holds = append(holds, l)
		var j judge.Judge
		by := l.rec.Author()
		by.Right = judge.RoleOwner
		if v := j.Decide(&l.rec.Ops[0], state, by, nil); v.Code == keyspace.CodeOK {
			state = v.Next
		}
	}
	return holds, state
}

// referenceLaws is what the definitions among some records say.
type referenceLaws struct {
	links []*referenceLink  // in stamp order
	bases map[string][]byte // by key: what a snapshot says
}

// decide judges an operation of a record on cur.
func (l *referenceLaws) decide(rec *journal.Record, i int, cur keyspace.State) judge.Verdict {
	op := &rec.Ops[i]
	if rec.View != nil {
		k := slices.IndexFunc(l.links, func(l *referenceLink) bool { return l.rec.ID == rec.ID })
		if l.links[k].code != keyspace.CodeOK {
			return judge.Verdict{Next: cur, Code: l.links[k].code}
		}
		return judge.Placed(l.links[k].next, cur, rec.Time)
	}
	var def *judge.Definition
	if op.Coll != judge.SystemCollection {
		if doc := l.at(value.AppendKey(nil, value.String(op.Coll), false), rec); doc != nil {
			var err error
			if def, err = judge.ParseDefinition(doc); err != nil {
				panic(err)
			}
		}
	}
	var j judge.Judge
	by := rec.Author()
	by.Right = judge.RolePlain
	return j.Decide(op, cur, by, def)
}

func newReferenceLaws(recs []*journal.Record, entries []journal.Entry, c fold.Cut, right func(clock.RecordID) string) *referenceLaws {
	laws := &referenceLaws{bases: map[string][]byte{}}
	held := map[clock.RecordID]clock.Time{}
	for _, e := range entries {
		held[e.ID] = e.Time
	}
	keys := map[string][]*referenceLink{}
	for _, rec := range recs {
		for i := range rec.Ops {
			if op := &rec.Ops[i]; rec.Snapshot && op.Coll == judge.SystemCollection {
				laws.bases[string(op.Key)] = op.Doc
			}
		}
		if rec.View == nil || rec.Bad != nil {
			continue
		}
		l := &referenceLink{rec: rec, role: right(rec.ID), whole: true}
		for _, h := range rec.View {
			at, ok := held[h]
			l.whole = l.whole && (c.Void[h.Log].Below(h) || ok && at < rec.Time)
		}
		laws.links = append(laws.links, l)
		keys[string(l.key())] = append(keys[string(l.key())], l)
	}
	for key, links := range keys {
		base := keyspace.State{Doc: laws.bases[key]}
		var counts []*referenceLink
		for _, l := range links { // in stamp order: what it has seen comes before
			var seen []*referenceLink
			for _, o := range counts {
				if l.saw(o.rec.ID) {
					seen = append(seen, o)
				}
			}
			_, state := holding(seen, base)
			var j judge.Judge
			by := l.rec.Author()
			by.Right = l.role
			if v := j.Decide(&l.rec.Ops[0], state, by, nil); v.Code == keyspace.CodeRole || v.Code == keyspace.CodeRule {
				l.code = v.Code
			} else if !l.whole {
				l.code = keyspace.CodeUnseen
			} else {
				counts = append(counts, l)
			}
		}
		holds, _ := holding(counts, base)
		state := base
		for _, l := range counts {
			if !slices.Contains(holds, l) {
				l.code = keyspace.CodeStale
				continue
			}
			var j judge.Judge
			by := l.rec.Author()
			by.Right = judge.RoleOwner
			v := j.Decide(&l.rec.Ops[0], state, by, nil)
			l.code, l.next = v.Code, v.Next
			if v.Code == keyspace.CodeOK {
				state = v.Next
			}
		}
	}
	return laws
}

// at returns the definition that judges the operations of a record.
func (l *referenceLaws) at(key []byte, rec *journal.Record) (doc []byte) {
	doc = l.bases[string(key)]
	for _, l := range l.links {
		if l.code == keyspace.CodeOK && bytes.Equal(l.key(), key) && !l.saw(rec.ID) {
			doc = l.next.Doc
		}
	}
	return doc
}
