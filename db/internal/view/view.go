// Package view is what readers see: the state after some commit, synced, with the
// definitions in force and what of it the reader is shown.
//
// A View is immutable but for its count of readers. Whoever takes one releases it;
// the last frees the store's snapshot.
package view

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weftdb/weft/db/internal/judge"
	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/db/internal/lthash"
	"github.com/weftdb/weft/db/internal/rules"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/store"
)

// Definition returns the definition of a collection in v, or ErrNotFound. It is parsed
// once for all readers of the view.
func (v *View) Definition(name string) (*judge.Definition, error) {
	if d, ok := v.defined.Load(name); ok {
		if d, _ := d.(*judge.Definition); d != nil {
			return d, nil
		}
		return nil, keyspace.ErrNotFound
	}
	d, err := v.readDefinition(name)
	if err == nil || errors.Is(err, keyspace.ErrNotFound) {
		v.defined.Store(name, d)
	}
	return d, err
}

// readDefinition reads it as a document of the system collection, which it is.
func (v *View) readDefinition(name string) (*judge.Definition, error) {
	sys := v.Cat.Colls[judge.SystemCollection]
	if sys == nil {
		return nil, keyspace.ErrNotFound
	}
	f, err := v.Get(sys, value.AppendKey(nil, value.String(name), false))
	if err != nil {
		return nil, err
	}
	if f == nil {
		return nil, keyspace.ErrNotFound
	}
	return v.Defs.Parse(f.Doc)
}

// Eyes say what the reader who opened a watch, a live query or a list of
// refusals is shown of a collection. Every document that these hand out passes
// them.
type Eyes struct {
	Ctx context.Context //nolint:containedctx // it says who reads, and bounds nothing
}

// EyesOf returns the eyes of the reader of ctx, which may end before they do.
func EyesOf(ctx context.Context) Eyes { return Eyes{context.WithoutCancel(ctx)} }

// Sight returns what the reader is shown of a collection, by the rule in v.
func (e Eyes) Sight(v *View, coll string) (*Sight, error) { return v.Sight(e.Ctx, coll) }

// Reader tells readers apart for whom a collection has a rule.
func (s *Sight) Reader() string {
	if s == nil {
		return ""
	}
	return "\x00" + s.in.Identity + "\x00" + s.in.Role
}

// A Bookmark says what of the journal a subscriber has: everything up to At, and
// what was folded ahead of it, up to Ahead; and how many gaps there were. A resume
// token is a bookmark for people.
type Bookmark struct{ At, Ahead, Gaps int64 }

// Bookmark returns the bookmark of who has seen v.
func (v *View) Bookmark() Bookmark {
	p := Bookmark{At: v.N, Gaps: v.Gaps}
	if k := len(v.Ahead); k > 0 {
		p.Ahead = v.Ahead[k-1].Last
	}
	return p
}

// A View is what readers see: the state after some commit, synced. It is
// released when nobody reads it and a later one exists.
//
// A reader takes one for as long as a call or a cursor takes, so all that it reads is of
// one moment: documents, index entries, counts, and the rules by which it is shown them.
type View struct {
	Space    keyspace.Space
	Defs     *judge.Definitions
	Identity string                         // of who reads, unless a call says otherwise; "" is the writer
	Writer   func() (identity, role string) // of this replica
	Wall     func() time.Time               // real time, as the database's clock has it
	Ended    *atomic.Bool                   // the database is closed

	Snap    store.Snapshot // closed when Refs is 0
	Cat     *keyspace.Catalog
	Stats   map[uint32]keyspace.CollStats // immutable
	Gen     uint64                        // of the commit
	Seq     uint64                        // of the publication
	N       int64                         // the arrival up to which it is folded
	Refused int64                         // refused operations
	Gaps    int64                         // see [keyspace.Meta]
	Ahead   []keyspace.Span               // own records folded ahead of N; immutable
	Own     map[clock.LogID]bool          // this replica's logs; immutable
	Hash    *lthash.State                 // of the state, without Pending
	Due     bool                          // horizons are to be judged, or moves to be done
	Pending []lthash.Delta                // summed up when somebody asks for the hash
	once    sync.Once
	sum     clock.Hash
	Refs    atomic.Int64 // readers, and one for being the latest
	defined sync.Map     // *definition by collection, nil for none
}

// Release gives v back; the last who does frees it.
func (v *View) Release() {
	if v.Refs.Add(-1) == 0 {
		v.Snap.Release()
	}
}

// StateHash returns the hash of the state. It is computed once, when first asked for.
func (v *View) StateHash() clock.Hash {
	v.once.Do(func() {
		h := *v.Hash
		h.Apply(v.Pending)
		v.sum = h.Sum()
	})
	return v.sum
}

// Refusal returns what is stored of the refusal at r; nil if there is none.
func (v *View) Refusal(r keyspace.Ref) ([]byte, error) {
	b, err := v.Snap.Get(v.Space.Key(keyspace.TagRefused, r.Append(nil)))
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	return slices.Clone(b), err
}

type readerKey struct{}

// everything marks the contexts of work that looks at all documents, whoever
// may read them.
type everything struct{}

// SeeingAll returns a context whose calls are shown every document, whoever may read it:
// for what the database does by itself, and for exports by those who may.
func SeeingAll(ctx context.Context) context.Context {
	return context.WithValue(ctx, everything{}, true)
}

// A Sight is what a reader is shown of a collection; nil is everything.
type Sight struct {
	rule *rules.Rule
	in   rules.Input
}

// Sight returns what the reader of ctx is shown of a collection in v.
func (v *View) Sight(ctx context.Context, name string) (*Sight, error) {
	if all, _ := ctx.Value(everything{}).(bool); all || name == judge.SystemCollection {
		return nil, nil
	}
	d, err := v.Definition(name)
	if errors.Is(err, keyspace.ErrNotFound) || err == nil && d.Rules.Read == nil {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	in, ok := ctx.Value(readerKey{}).(rules.Input)
	if !ok {
		in.Identity, in.Role = v.Writer()
		if v.Identity != "" && v.Identity != in.Identity {
			in.Identity, in.Role = v.Identity, ""
		}
	}
	return &Sight{d.Rules.Read, in}, nil
}

// Shows reports whether the reader is shown a document.
func (s *Sight) Shows(doc []byte) bool {
	if s == nil || doc == nil {
		return true
	}
	in := s.in
	in.Doc = doc
	return s.rule.Allows(&in) == nil
}

// Get returns a document by its _id's key; nil if there is none.
func (v *View) Get(c *keyspace.Coll, idKey []byte) (*Found, error) {
	b, err := v.Snap.Get(v.Space.Key(keyspace.TagDoc, keyspace.Num(c.Num), idKey))
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	f := &Found{IDKey: idKey}
	f.Head, err = keyspace.ParseHead(b)
	if err != nil || f.Doc == nil {
		return nil, err
	}
	return f, nil
}

// GapsSince returns the collections with a gap after the given one; "" is any.
func (v *View) GapsSince(gaps int64) (colls []string, err error) {
	names := map[uint32]string{0: ""}
	for name, c := range v.Cat.Colls {
		names[c.Num] = name
	}
	p := v.Space.Key(keyspace.TagGap)
	it := v.Snap.Iterate(store.Prefix(p))
	defer it.Close()
	for ; it.Valid(); it.Next() {
		val, err := it.Value()
		if err != nil {
			return nil, err
		}
		c, n := keyspace.Scanner{B: it.Key()[len(p):]}, keyspace.Scanner{B: val}
		i, last := uint32(c.Uvarint()), n.Uvarint()
		if c.Bad || n.Bad {
			return nil, keyspace.ErrCorrupt
		}
		if name, ok := names[i]; ok && int64(last) > gaps {
			colls = append(colls, name)
		}
	}
	if len(colls) == 0 {
		colls = []string{""} // of before gaps named their collections
	}
	return colls, it.Err()
}

// Head returns what is stored of a document, also of a deleted one.
func (v *View) Head(c *keyspace.Coll, idKey []byte) (keyspace.Head, error) {
	b, err := v.Snap.Get(v.Space.Key(keyspace.TagDoc, keyspace.Num(c.Num), idKey))
	if err != nil {
		if errors.Is(err, store.ErrNotFound) {
			err = nil
		}
		return keyspace.Head{}, err
	}
	h, err := keyspace.ParseHead(b)
	h.Doc = slices.Clone(h.Doc)
	return h, err
}

// A Found is a document that a query found.
type Found struct {
	keyspace.Head
	IDKey   []byte // of its _id
	SortKey []byte // by the query's sort; nil if it has none, or it is not needed yet
}

// WithReader returns a context whose calls read with the eyes of an identity.
func WithReader(ctx context.Context, identity, role string) context.Context {
	return context.WithValue(ctx, readerKey{}, rules.Input{Identity: identity, Role: role})
}
