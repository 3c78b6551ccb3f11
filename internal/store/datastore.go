package store

import (
	"context"
	"errors"

	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
)

// A view of a part of the key space as a go-datastore: the key /a/b is stored
// under prefix + "/a/b".
type prefixed struct {
	s      Store
	prefix []byte
}

var _ datastore.Batching = (*prefixed)(nil)

func (c *core) Datastore(prefix []byte) datastore.Batching {
	return &prefixed{s: c, prefix: append([]byte(nil), prefix...)}
}

func (d *prefixed) key(k datastore.Key) []byte {
	b := make([]byte, 0, len(d.prefix)+len(k.String()))
	return append(append(b, d.prefix...), k.String()...)
}

func (d *prefixed) Get(ctx context.Context, k datastore.Key) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	v := d.s.Snapshot()
	defer v.Release()
	p, err := v.Get(d.key(k))
	if errors.Is(err, ErrNotFound) {
		return nil, datastore.ErrNotFound
	}
	return p, err
}

func (d *prefixed) Has(ctx context.Context, k datastore.Key) (bool, error) {
	_, err := d.Get(ctx, k)
	if errors.Is(err, datastore.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

func (d *prefixed) GetSize(ctx context.Context, k datastore.Key) (int, error) {
	p, err := d.Get(ctx, k)
	if err != nil {
		return -1, err
	}
	return len(p), nil
}

func (d *prefixed) Put(ctx context.Context, k datastore.Key, value []byte) error {
	return d.write(ctx, func(t Tx) error { return t.Put(d.key(k), value) })
}

func (d *prefixed) Delete(ctx context.Context, k datastore.Key) error {
	return d.write(ctx, func(t Tx) error { return t.Delete(d.key(k)) })
}

func (d *prefixed) write(ctx context.Context, f func(Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	t := d.s.Begin()
	defer t.Discard()
	if err := f(t); err != nil {
		return err
	}
	return t.Commit()
}

func (d *prefixed) Sync(ctx context.Context, _ datastore.Key) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return d.s.Sync()
}

// Close does nothing: the store is its owner's.
func (d *prefixed) Close() error { return nil }

func (d *prefixed) Query(ctx context.Context, q query.Query) (query.Results, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	p := d.prefix
	if clean := datastore.NewKey(q.Prefix).String(); clean != "/" {
		p = append(append([]byte(nil), p...), clean+"/"...)
	}
	v := d.s.Snapshot()
	r := Prefix(p)
	r.KeysOnly = q.KeysOnly && !q.ReturnsSizes
	it := v.Iterate(r)
	entry := func() (query.Result, bool) {
		if err := errors.Join(ctx.Err(), it.Err()); err != nil {
			return query.Result{Error: err}, true
		}
		if !it.Valid() {
			return query.Result{}, false
		}
		e := query.Entry{Key: string(it.Key()[len(d.prefix):])}
		if !r.KeysOnly {
			value, err := it.Value()
			if err != nil {
				return query.Result{Error: err}, true
			}
			e.Size = len(value)
			if !q.KeysOnly {
				e.Value = append([]byte(nil), value...)
			}
		}
		it.Next()
		return query.Result{Entry: e}, true
	}
	failed := false
	all := query.ResultsFromIterator(q, query.Iterator{
		Next: func() (query.Result, bool) {
			if failed {
				return query.Result{}, false
			}
			res, ok := entry()
			failed = res.Error != nil
			return res, ok
		},
		Close: func() error {
			it.Close()
			v.Release()
			return nil
		},
	})
	return query.NaiveQueryApply(q, all), nil
}

// Batch returns a batch that is applied by one transaction, or, if it is over
// the store's Limits, by several in the order of its calls.
func (d *prefixed) Batch(ctx context.Context) (datastore.Batch, error) {
	return &batch{d: d}, ctx.Err()
}

type batch struct {
	d   *prefixed
	ops []batchOp
}

type batchOp struct {
	key, value []byte
	deleted    bool
}

func (b *batch) Put(ctx context.Context, k datastore.Key, value []byte) error {
	b.ops = append(b.ops, batchOp{key: b.d.key(k), value: value})
	return ctx.Err()
}

func (b *batch) Delete(ctx context.Context, k datastore.Key) error {
	b.ops = append(b.ops, batchOp{key: b.d.key(k), deleted: true})
	return ctx.Err()
}

func (b *batch) Commit(ctx context.Context) error {
	for rest := b.ops; len(rest) > 0; {
		n := 0
		err := b.d.write(ctx, func(t Tx) error {
			for ; n < len(rest); n++ {
				err := rest[n].apply(t)
				if errors.Is(err, ErrTooBig) && n > 0 {
					return nil
				}
				if err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		rest = rest[n:]
	}
	b.ops = nil
	return nil
}

func (o batchOp) apply(t Tx) error {
	if o.deleted {
		return t.Delete(o.key)
	}
	return t.Put(o.key, o.value)
}
