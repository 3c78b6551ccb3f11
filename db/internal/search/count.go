package search

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/db/internal/plan"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store"
)

// A counter is a sink that counts.
type counter struct{ n int64 }

func (c *counter) Take(*keyspace.Head, []byte) error {
	c.n++
	return nil
}

// Count counts what matches, or stops at skip + limit. From cheap to dear: the count of
// the collection, keys of an exact access, documents. The first two know nothing of what
// has expired or is hidden, so they are out if anything may be.
func (s *Search) Count() (n int64, err error) {
	switch {
	case s.C == nil:
		return 0, nil
	case len(s.o.Filter) <= 5 && s.now.IsZero() && s.sight == nil:
		return s.v.Stats[s.C.Num].Docs, nil
	case s.Access.Exact && s.now.IsZero() && s.sight == nil:
		return s.countKeys()
	case s.o.Limit > 0:
		for n < s.o.want() {
			f, err := s.Next()
			if f == nil || err != nil {
				return n, err
			}
			n++
		}
		return n, nil
	}
	sinks := make([]Sink, Workers())
	for i := range sinks {
		sinks[i] = &counter{}
	}
	err = s.Drain(sinks)
	for _, c := range sinks {
		n += c.(*counter).n
	}
	return n, err
}

// countKeys counts the keys of an access that holds just what matches. An exact access is
// of an index without arrays, so that each document has one key in it. The view does not
// change meanwhile: what is counted is of one moment, however long it takes.
func (s *Search) countKeys() (n int64, err error) {
	w := newWalk(s.v, s.Access)
	defer w.close()
	for ; ; n++ {
		if n%1024 == 0 && s.Ctx.Err() != nil {
			return n, s.Ctx.Err()
		}
		if s.o.Limit > 0 && n == s.o.want() {
			break
		}
		k, err := w.next()
		if err != nil {
			return n, err
		}
		if k == nil {
			break
		}
	}
	s.keysExamined.Add(w.keys)
	return n, nil
}

// errMaxTime reports that a query took longer than its MaxTime.
var errMaxTime = fault.Errorf(fault.MaxTimeExpired, "operation exceeded time limit")

// TimeError gives the end of a query's MaxTime as such.
func TimeError(ctx context.Context, err error) error {
	if err != nil && errors.Is(context.Cause(ctx), errMaxTime) {
		return errMaxTime
	}
	return err
}

// WithMaxTime bounds ctx; 0 means no bound.
func WithMaxTime(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	if d <= 0 {
		return ctx, func() {}
	}
	return context.WithTimeoutCause(ctx, d, errMaxTime)
}

// maxDistinct bounds the bytes of distinct values.
const maxDistinct = 8 << 20

// A Distinct is a sink that keeps the different values of a path, by their keys.
type Distinct struct {
	Path   value.Path            // whose values are wanted
	Values map[string]firstValue // by the value's key, so that 1 and 1.0 are one
	size   int
	vals   []value.Value // scratch
	key    []byte        // scratch
}

// A firstValue is a value as the first document by _id has it.
type firstValue struct {
	V     value.Value
	idKey []byte
}

// Take implements [Sink]. A missing field and an empty array count as values without data;
// the data of a null that is stored is empty, but there.
func (d *Distinct) Take(h *keyspace.Head, idKey []byte) error {
	d.vals, _ = d.Path.DistinctValues(d.vals[:0], h.Doc)
	for _, v := range d.vals {
		if v.Data == nil { // of a missing field or an empty array
			continue
		}
		d.key = value.AppendKey(d.key[:0], v, false)
		if err := d.add(v, idKey); err != nil {
			return err
		}
	}
	return nil
}

// add keeps v, whose key is in d.key.
func (d *Distinct) add(v value.Value, idKey []byte) error {
	if have, ok := d.Values[string(d.key)]; ok && bytes.Compare(have.idKey, idKey) <= 0 {
		return nil
	} else if !ok {
		d.size += len(v.Data)
	}
	if d.size > maxDistinct {
		return fault.Of(keyspace.ErrTooLarge, "the distinct values have more than %d MiB", maxDistinct>>20)
	}
	if d.Values == nil {
		d.Values = map[string]firstValue{}
	}
	v.Data = append(make([]byte, 0, len(v.Data)), v.Data...)
	d.Values[string(d.key)] = firstValue{v, bytes.Clone(idKey)}
	return nil
}

// Distinct looks at all documents that match.
func (s *Search) Distinct(p value.Path) (*Distinct, error) {
	sinks := make([]Sink, Workers())
	for i := range sinks {
		sinks[i] = &Distinct{Path: p}
	}
	if err := s.Drain(sinks); err != nil {
		return nil, err
	}
	// One value may be in several sinks, in different forms: 1 and 1.0. The form of the
	// least _id is returned, however the work was divided.
	all := sinks[0].(*Distinct)
	for _, o := range sinks[1:] {
		for k, f := range o.(*Distinct).Values {
			all.key = append(all.key[:0], k...)
			if err := all.add(f.V, f.idKey); err != nil {
				return nil, err
			}
		}
	}
	return all, nil
}

// DistinctIndex returns an index that has a key for each distinct value of path in all
// documents, if all are asked for. With a filter, or an array in any document, the keys of
// an index say too much.
func (s *Search) DistinctIndex(path string) *keyspace.Index {
	if len(s.o.Filter) > 5 || s.o.NoIndex || !s.o.Hint.IsZero() {
		return nil
	}
	p := &plan.Planner{V: s.v, C: s.C}
	for _, x := range s.C.Indexes {
		if len(x.Keys) == 1 && x.Keys[0].Path == path && !x.Multi.Load() && p.Usable(x, nil) {
			return x
		}
	}
	return nil
}

const (
	skimCost = 16  // of a value, in documents scanned: a seek and a document by its _id
	skimTry  = 128 // values after which skim asks itself whether to go on
)

// Skim reads one document for each value in x, and skips the other keys. It
// gives up, with done false, if most keys have a value of their own.
func (s *Search) Skim(x *keyspace.Index, d *Distinct) (done bool, err error) {
	a := &plan.Access{Index: x, Base: len(s.v.Space.Key(keyspace.TagIndex, keyspace.Num(x.Num))), Bounds: make([]plan.Bound, 1), Checked: 1}
	r := store.Prefix(s.v.Space.Key(keyspace.TagIndex, keyspace.Num(x.Num)))
	r.KeysOnly = true
	it := s.v.Snap.Iterate(r)
	defer it.Close()
	var first []byte
	// From the first key of one value to the first key of the next, by seeking: the keys
	// in between are not read. Where nearly every document has a value of its own that is
	// dearer than a scan, which is found out after a few.
	for n := 0; it.Valid(); n++ {
		if n == 0 {
			first = bytes.Clone(it.Key())
		}
		if n > 0 && n%skimTry == 0 && s.skimTooDear(n, r, first, it.Key()) {
			return false, nil
		}
		if err := s.Ctx.Err(); err != nil {
			return false, err
		}
		idKey, _, err := a.IDKeyOf(it.Key())
		if err != nil {
			return false, err
		}
		values := bytes.Clone(it.Key()[:len(it.Key())-len(idKey)])
		for before := len(d.Values); it.Valid() && bytes.HasPrefix(it.Key(), values); it.Next() {
			f, err := s.v.Get(s.C, it.Key()[len(values):])
			s.keysExamined.Add(1)
			if err == nil && f != nil && s.Matches(&f.State) { // it may have expired
				s.DocsExamined.Add(1)
				err = d.Take(&f.Head, f.IDKey)
			}
			if err != nil {
				return false, err
			}
			if len(d.Values) > before {
				break
			}
		}
		it.Seek(store.PrefixEnd(values))
	}
	return true, it.Err()
}

// skimTooDear reports whether the values that are left, after n, are to be found by a scan.
// Where these have come to in the index says how many are left, but misleads where values
// lie close together; so it is believed only when an eighth of a scan is spent, and after a
// whole one nothing is.
func (s *Search) skimTooDear(n int, r store.Range, first, now []byte) bool {
	spent, scan := float64(n)*skimCost, float64(s.v.Stats[s.C.Num].Docs)
	if spent < scan/8 || spent >= scan {
		return spent >= scan
	}
	r.Reverse = true
	end := s.v.Snap.Iterate(r)
	defer end.Close()
	if !end.Valid() {
		return false
	}
	whole, rest := plan.Distance(first, end.Key(), first), plan.Distance(now, end.Key(), first)
	return whole <= rest || spent*whole/(whole-rest) > scan
}
