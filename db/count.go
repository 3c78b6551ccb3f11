package db

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store"
)

// CountOptions tunes CountWith. The zero value counts all.
type CountOptions struct {
	Skip, Limit int64 // a Limit of 0 means none
	Hint        bson.RawValue
	MaxTime     time.Duration
}

// Count counts the documents that match filter; nil counts all, at once.
func (c *Collection) Count(ctx context.Context, filter bson.Raw) (int64, error) {
	return c.CountWith(ctx, filter, CountOptions{})
}

// CountWith is Count with options. Where an index holds just what matches its
// keys are counted, and no document is read.
func (c *Collection) CountWith(ctx context.Context, filter bson.Raw, o CountOptions) (int64, error) {
	v, err := c.db.acquire()
	if err != nil {
		return 0, err
	}
	defer v.release()
	ctx, cancel := withMaxTime(ctx, o.MaxTime)
	defer cancel()
	s, err := c.db.searchFor(ctx, v, c.name, FindOptions{Filter: filter, Skip: o.Skip, Limit: o.Limit, Hint: o.Hint}, true)
	if err != nil {
		return 0, err
	}
	defer s.close()
	s.ctx = ctx
	n, err := s.count()
	if n = max(0, n-o.Skip); o.Limit > 0 {
		n = min(n, o.Limit)
	}
	return n, timeError(ctx, err)
}

// A counter is a sink that counts.
type counter struct{ n int64 }

func (c *counter) take(*head, []byte) error {
	c.n++
	return nil
}

// count counts what matches, or stops at skip + limit.
func (s *search) count() (n int64, err error) {
	switch {
	case s.c == nil:
		return 0, nil
	case len(s.o.Filter) <= 5 && s.now.IsZero() && s.sight == nil:
		return s.v.stats[s.c.num].docs, nil
	case s.access.exact && s.now.IsZero() && s.sight == nil:
		return s.countKeys()
	case s.o.Limit > 0:
		for n < s.o.want() {
			f, err := s.next()
			if f == nil || err != nil {
				return n, err
			}
			n++
		}
		return n, nil
	}
	sinks := make([]sink, workers())
	for i := range sinks {
		sinks[i] = &counter{}
	}
	err = s.drain(sinks)
	for _, c := range sinks {
		n += c.(*counter).n
	}
	return n, err
}

// countKeys counts the keys of an access that holds just what matches.
func (s *search) countKeys() (n int64, err error) {
	w := newWalk(s.db, s.v, s.access)
	defer w.close()
	for ; ; n++ {
		if n%1024 == 0 && s.ctx.Err() != nil {
			return n, s.ctx.Err()
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

// timeError gives the end of a query's MaxTime as such.
func timeError(ctx context.Context, err error) error {
	if err != nil && errors.Is(context.Cause(ctx), errMaxTime) {
		return errMaxTime
	}
	return err
}

// withMaxTime bounds ctx; 0 means no bound.
func withMaxTime(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	if d <= 0 {
		return ctx, func() {}
	}
	return context.WithTimeoutCause(ctx, d, errMaxTime)
}

// Distinct returns the different values of path in the documents that match
// filter, those of arrays one by one, in BSON order; at most 8 MiB of them. Of
// equal values, such as 1 and 1.0, it returns that of the first document by _id.
func (c *Collection) Distinct(ctx context.Context, path string, filter bson.Raw) ([]bson.RawValue, error) {
	return c.distinct(ctx, path, FindOptions{Filter: filter})
}

func (c *Collection) distinct(ctx context.Context, path string, o FindOptions) ([]bson.RawValue, error) {
	p, err := value.ParsePath(path)
	if err != nil {
		return nil, err
	}
	v, err := c.db.acquire()
	if err != nil {
		return nil, err
	}
	defer v.release()
	ctx, cancel := withMaxTime(ctx, o.MaxTime)
	defer cancel()
	s, err := c.db.newSearch(ctx, v, c.name, o)
	if err != nil || s.c == nil {
		return nil, err
	}
	defer s.close()
	s.ctx = ctx
	d := &distinct{path: p}
	done := false
	if x := s.distinctIndex(path); x != nil {
		done, err = s.skim(x, d)
	}
	if err == nil && !done {
		d, err = s.distinct(p)
	}
	if err != nil {
		return nil, timeError(ctx, err)
	}
	out := make([]bson.RawValue, 0, len(d.values))
	for _, k := range slices.Sorted(maps.Keys(d.values)) {
		out = append(out, d.values[k].v.Raw())
	}
	return out, nil
}

// A distinct is a sink that keeps the different values of a path, by their keys.
type distinct struct {
	path   value.Path
	values map[string]firstValue
	size   int
	vals   []value.Value // scratch
	key    []byte        // scratch
}

// A firstValue is a value as the first document by _id has it.
type firstValue struct {
	v     value.Value
	idKey []byte
}

func (d *distinct) take(h *head, idKey []byte) error {
	d.vals, _ = d.path.DistinctValues(d.vals[:0], h.doc)
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
func (d *distinct) add(v value.Value, idKey []byte) error {
	if have, ok := d.values[string(d.key)]; ok && bytes.Compare(have.idKey, idKey) <= 0 {
		return nil
	} else if !ok {
		d.size += len(v.Data)
	}
	if d.size > maxBatch {
		return fault.Of(ErrTooLarge, "the distinct values have more than %d MiB", maxBatch>>20)
	}
	if d.values == nil {
		d.values = map[string]firstValue{}
	}
	v.Data = append(make([]byte, 0, len(v.Data)), v.Data...)
	d.values[string(d.key)] = firstValue{v, bytes.Clone(idKey)}
	return nil
}

// distinct looks at all documents that match.
func (s *search) distinct(p value.Path) (*distinct, error) {
	sinks := make([]sink, workers())
	for i := range sinks {
		sinks[i] = &distinct{path: p}
	}
	if err := s.drain(sinks); err != nil {
		return nil, err
	}
	all := sinks[0].(*distinct)
	for _, o := range sinks[1:] {
		for k, f := range o.(*distinct).values {
			all.key = append(all.key[:0], k...)
			if err := all.add(f.v, f.idKey); err != nil {
				return nil, err
			}
		}
	}
	return all, nil
}

// distinctIndex returns an index that has a key for each distinct value of path
// in all documents, if all are asked for.
func (s *search) distinctIndex(path string) *index {
	if len(s.o.Filter) > 5 || s.o.NoIndex || !s.o.Hint.IsZero() {
		return nil
	}
	p := &planner{db: s.db, v: s.v, c: s.c}
	for _, x := range s.c.indexes {
		if len(x.Keys) == 1 && x.Keys[0].Path == path && !x.multi.Load() && p.usable(x, nil) {
			return x
		}
	}
	return nil
}

// skimTry is how many values skim reads before it judges whether to go on.
const skimTry = 128

// skim reads one document for each value in x, and skips the other keys. It
// gives up, with done false, if most keys have a value of their own.
func (s *search) skim(x *index, d *distinct) (done bool, err error) {
	a := &access{index: x, base: len(s.db.key(tagIndex, num(x.num))), bounds: make([]bound, 1), checked: 1}
	r := store.Prefix(s.db.key(tagIndex, num(x.num)))
	r.KeysOnly = true
	it := s.v.snap.Iterate(r)
	defer it.Close()
	var first []byte
	for n := 0; it.Valid(); n++ {
		if n == 0 {
			first = bytes.Clone(it.Key())
		}
		if n == skimTry && s.skimPart(r, first, it.Key()) {
			return false, nil
		}
		if err := s.ctx.Err(); err != nil {
			return false, err
		}
		idKey, _, err := a.idKeyOf(it.Key())
		if err != nil {
			return false, err
		}
		values := bytes.Clone(it.Key()[:len(it.Key())-len(idKey)])
		for before := len(d.values); it.Valid() && bytes.HasPrefix(it.Key(), values); it.Next() {
			f, err := s.v.get(s.db, s.c, it.Key()[len(values):])
			s.keysExamined.Add(1)
			if err == nil && f != nil && s.matches(&f.state) { // it may have expired
				s.docsExamined.Add(1)
				err = d.take(&f.head, f.idKey)
			}
			if err != nil {
				return false, err
			}
			if len(d.values) > before {
				break
			}
		}
		it.Seek(store.PrefixEnd(values))
	}
	return true, it.Err()
}

// skimPart reports whether so many values lie between first and now that a scan
// is cheaper than a document for each value.
func (s *search) skimPart(r store.Range, first, now []byte) bool {
	r.Reverse = true
	end := s.v.snap.Iterate(r)
	defer end.Close()
	if !end.Valid() {
		return false
	}
	whole, rest := distance(first, end.Key(), first), distance(now, end.Key(), first)
	return whole <= rest || skimTry*whole/(whole-rest)*costFetch > float64(s.v.stats[s.c.num].docs)
}
