package badger4kv

import (
	"bytes"
	"cmp"
	"container/heap"
	"context"
	"encoding/binary"
	"errors"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/dgraph-io/badger/v4"

	"github.com/weftdb/weft/internal/store"
)

// Salvage gives the newest readable version of each key of the closed store in dir,
// in order, and lists what cannot be read. It changes nothing there. Without a
// manifest every table that is there counts.
func Salvage(ctx context.Context, dir string, put func(key, value []byte) error) ([]store.Damage, error) {
	release, err := lock(dir)
	if err != nil {
		return nil, err
	}
	s := &salvage{ctx: ctx, dir: dir}
	defer s.close()
	err = s.open()
	if err == nil {
		err = s.merge(put)
	}
	return s.damage, errors.Join(err, release())
}

type salvage struct {
	ctx    context.Context //nolint:containedctx // of the one call
	dir    string
	damage []store.Damage
	tables []*table
	logged []entry // of the logs of memtables, in order
}

func (s *salvage) lost(d store.Damage) { s.damage = append(s.damage, d) }

func (s *salvage) close() {
	for _, t := range s.tables {
		_ = t.f.Close()
	}
}

func (s *salvage) open() error {
	name := filepath.Join(s.dir, badger.ManifestFilename)
	m, err := readManifest(name)
	ids := slices.Sorted(maps.Keys(m.Tables))
	if err != nil {
		s.lost(store.Damage{File: name, Err: err})
		if ids, err = numbered(s.dir, ".sst"); err != nil {
			return err
		}
	}
	for _, id := range ids {
		t, err := openTable(s.dir, id)
		if err != nil {
			s.lost(store.Damage{File: tableName(s.dir, id), Err: unreadable(tableName(s.dir, id), err)})
			continue
		}
		s.tables = append(s.tables, t)
	}
	mems, err := numbered(s.dir, ".mem")
	if err != nil {
		return err
	}
	for _, id := range mems {
		s.readMem(memName(s.dir, id))
	}
	slices.SortStableFunc(s.logged, compareEntries)
	return nil
}

// readMem keeps the records of the log of a memtable. Where one is damaged, the next
// that is whole is looked for.
func (s *salvage) readMem(name string) {
	b, err := os.ReadFile(name)
	if err != nil {
		s.lost(store.Damage{File: name, Err: unreadable(name, err)})
		return
	}
	w := newLogWalk(b)
	whole := len(s.logged)
	for e, ok := w.next(); ok; e, ok = w.next() {
		if e.meta&endsTxn == 0 {
			s.logged = append(s.logged, e)
		}
		if w.open == 0 {
			whole = len(s.logged)
		}
	}
	next := w.resumes()
	rest := b[min(w.whole, len(b)):]
	if next < 0 {
		s.logged = s.logged[:whole]
		if len(b) < logHeader || len(bytes.Trim(rest, "\x00")) > 0 {
			// Not written to its end, or damaged there.
			s.lost(store.Damage{File: name, Err: corrupt(name, "is damaged")})
		}
		return
	}
	s.lost(store.Damage{File: name, Err: corrupt(name, "is damaged")})
	for next >= 0 {
		w.at, w.torn = next, false
		for {
			e, size, ok := parseRecord(b[w.at:])
			if !ok {
				break
			}
			if e.meta&endsTxn == 0 {
				s.logged = append(s.logged, e)
			}
			w.at += size
		}
		next = w.resumes()
	}
}

// compareEntries orders by key, the newest version first.
func compareEntries(a, b entry) int {
	return cmp.Or(bytes.Compare(a.key, b.key), cmp.Compare(b.version, a.version))
}

// read gives the entries of a table, and lists the blocks that cannot be read.
func (s *salvage) read(t *table) iter.Seq[entry] {
	return func(yield func(entry) bool) {
		for i := range t.blocks() {
			b, err := t.block(i)
			if err != nil {
				upper := t.first(i + 1)
				if upper != nil {
					upper = append(bytes.Clone(upper), 0)
				}
				s.lost(store.Damage{File: t.f.Name(), Lower: bytes.Clone(t.first(i)), Upper: upper, Err: unreadable(t.f.Name(), err)})
				continue
			}
			for _, e := range entries(b) {
				if !yield(e) {
					return
				}
			}
		}
	}
}

// A stream is a source of entries in order, at one of them.
type stream struct {
	entry
	pull func() (entry, bool)
}

type streamHeap []*stream

func (h streamHeap) Len() int           { return len(h) }
func (h streamHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h streamHeap) Less(i, j int) bool { return compareEntries(h[i].entry, h[j].entry) < 0 }
func (h *streamHeap) Push(x any)        { *h = append(*h, x.(*stream)) }
func (h *streamHeap) Pop() any {
	x := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return x
}

// merge gives the newest readable version of each key to put.
func (s *salvage) merge(put func(key, value []byte) error) error {
	var live streamHeap
	add := func(seq iter.Seq[entry]) func() {
		pull, stop := iter.Pull(seq)
		if e, ok := pull(); ok {
			live = append(live, &stream{e, pull})
		}
		return stop
	}
	for _, t := range s.tables {
		defer add(s.read(t))()
	}
	defer add(slices.Values(s.logged))()
	heap.Init(&live)
	var key []byte
	done := false // with key
	for n := 0; len(live) > 0; n++ {
		if n%1024 == 0 && s.ctx.Err() != nil {
			return s.ctx.Err()
		}
		e := live[0].entry
		if key == nil || !bytes.Equal(e.key, key) {
			key, done = bytes.Clone(e.key), bytes.HasPrefix(e.key, ownPfx)
		}
		if !done {
			var err error
			if done, err = s.give(e, put); err != nil {
				return err
			}
		}
		if next, ok := live[0].pull(); ok {
			live[0].entry = next
			heap.Fix(&live, 0)
		} else {
			heap.Pop(&live)
		}
	}
	return nil
}

// give gives one version to put, and reports whether the older ones are of no use.
func (s *salvage) give(e entry, put func(key, value []byte) error) (bool, error) {
	if e.meta&deleted != 0 {
		return true, nil
	}
	value := e.value
	if e.meta&isPointer != 0 {
		var err error
		var name string
		if value, name, err = s.pointed(e); err != nil {
			s.lost(store.Damage{File: name, Lower: bytes.Clone(e.key), Upper: append(bytes.Clone(e.key), 0), Err: unreadable(name, err)})
			return false, nil
		}
	}
	return true, put(bytes.Clone(e.key), bytes.Clone(value))
}

// pointed reads a value out of the value log.
func (s *salvage) pointed(e entry) (value []byte, name string, err error) {
	if len(e.value) != 12 {
		return nil, s.dir, errDamaged
	}
	id, size, offset := binary.LittleEndian.Uint32(e.value), binary.LittleEndian.Uint32(e.value[4:]), binary.LittleEndian.Uint32(e.value[8:])
	name = logName(s.dir, uint64(id))
	f, err := os.Open(name)
	if err != nil {
		return nil, name, err
	}
	defer f.Close()
	if fi, err := f.Stat(); err != nil || fi.Size() < int64(offset)+int64(size) {
		return nil, name, errors.Join(err, errDamaged)
	}
	b := make([]byte, size)
	if _, err := f.ReadAt(b, int64(offset)); err != nil {
		return nil, name, err
	}
	r, n, ok := parseRecord(b)
	if !ok || n != len(b) || compareEntries(r, e) != 0 {
		return nil, name, errDamaged
	}
	return r.value, name, nil
}
