package badgerkv

import (
	"bytes"
	"cmp"
	"container/heap"
	"context"
	"errors"
	"io/fs"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/dgraph-io/badger"

	"github.com/weftdb/weft/internal/store"
)

// Salvage gives the newest readable version of each key of the closed store in dir,
// in order, and lists what cannot be read or trusted. It changes nothing there.
//
// Tables are read as far as they have the form of one: a table with a wrong checksum
// gives what it seems to hold, in the range of the damage that is listed for it.
// Without a manifest every table that is there counts. When a table is damaged, the
// log is read as a whole: what is in it too is right.
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
	tables []*source
	logged []logged         // records of the log, in the order of compareKeys
	moves  map[string]entry // by key and version: where long values were moved to; nil until asked
	logs   map[uint32]*os.File
}

// A source is a table and what can be read of it.
type source struct {
	*table
	suspect bool // nothing says that it is whole
}

// A logged is a record of the log.
type logged struct {
	entry         // without the value
	at    pointer // of the record
}

func (s *salvage) lost(d store.Damage) { s.damage = append(s.damage, d) }

func (s *salvage) close() {
	for _, t := range s.tables {
		_ = t.f.Close()
	}
	for _, f := range s.logs {
		_ = f.Close()
	}
}

// open opens the tables and reads what of the log they may lack.
func (s *salvage) open() error {
	name := filepath.Join(s.dir, badger.ManifestFilename)
	m, err := readManifest(name)
	whole := err == nil
	if !whole {
		s.lost(store.Damage{File: name, Err: err})
		ids, err := numbered(s.dir, ".sst")
		if err != nil {
			return err
		}
		m = badger.Manifest{Tables: make(map[uint64]badger.TableManifest)}
		for _, id := range ids {
			m.Tables[id] = badger.TableManifest{}
		}
	}
	var head entry
	buf := make([]byte, 256<<10)
	for _, id := range slices.Sorted(maps.Keys(m.Tables)) {
		t, h, err := s.openTable(id, m.Tables[id].Checksum, buf)
		if err != nil {
			return err
		}
		if t == nil || t.suspect {
			whole = false
		}
		if h.version > head.version {
			head = h
		}
	}
	at, _ := parsePointer(head.value)
	if !whole {
		at = pointer{}
	}
	return s.readLogs(at, whole)
}

// openTable opens a table, and says how much of it is lost.
func (s *salvage) openTable(id uint64, sum, buf []byte) (*source, entry, error) {
	name := tableName(s.dir, id)
	f, err := os.Open(name)
	if err != nil {
		s.lost(store.Damage{File: name, Err: unreadable(name, err)})
		return nil, entry{}, nil
	}
	t := &source{table: &table{f: f, id: id}}
	s.tables = append(s.tables, t)
	err = t.readIndex()
	if err == nil && len(sum) > 0 {
		var got []byte
		got, err = t.sum(buf, func(int) error { return s.ctx.Err() })
		if err == nil && bytes.Equal(got, sum) {
			head, _, err := t.newest(headKey)
			return t, head, err
		}
		if err == nil {
			err = errDamaged
		}
	}
	if s.ctx.Err() != nil {
		return nil, entry{}, s.ctx.Err()
	}
	t.suspect = true
	if err == nil { // there is no manifest, which is listed
		return t, entry{}, nil
	}
	if t.ends == nil {
		t.ends = t.findBlocks()
	}
	d := store.Damage{File: name, Err: unreadable(name, err)}
	for i := range t.ends {
		b, _ := t.block(i)
		var bad bool
		for e := range blockEntries(b, &bad) {
			if i == 0 && d.Lower == nil {
				d.Lower = e.key
			}
			d.Upper = append(e.key[:len(e.key):len(e.key)], 0)
		}
		if bad || i == len(t.ends)-1 && int64(t.ends[i]) >= t.size {
			d.Upper = nil
		}
	}
	if len(t.ends) == 0 {
		d.Lower, d.Upper = nil, nil
	}
	s.lost(d)
	return t, entry{}, nil
}

// findBlocks finds the blocks of a table that has lost its index, as far as they
// follow each other.
func (t *table) findBlocks() []uint32 {
	b, err := readFrom(t.f.Name(), 0)
	if err != nil {
		return nil
	}
	var ends []uint32
	for at := 0; at < len(b); {
		n, last := blockSize(b[at:])
		at += n
		if n > 0 {
			ends = append(ends, uint32(at))
		}
		if last {
			break
		}
	}
	return ends
}

// blockSize returns how many bytes the block that b begins with has, and whether
// nothing more can be found behind it.
func blockSize(b []byte) (int, bool) {
	for at := 0; ; {
		if at+entryHeader > len(b) {
			return at, true
		}
		shared, klen, vlen := be16(b[at:]), be16(b[at+2:]), be16(b[at+4:])
		if at+entryHeader+klen+vlen > len(b) {
			return at, true
		}
		at += entryHeader + klen + vlen
		if shared == 0 && klen == 0 {
			return at, false
		}
	}
}

// entries gives what can be read of a table, in order.
func (t *source) entries() iter.Seq[entry] {
	return func(yield func(entry) bool) {
		var last []byte
		for i := range t.ends {
			b, err := t.block(i)
			if err != nil {
				continue
			}
			var bad bool
			for e := range blockEntries(b, &bad) {
				if t.suspect {
					// A damaged key may stand anywhere.
					k := joinKey(e.key, e.version)
					if last != nil && compareKeys(last, k) >= 0 {
						continue
					}
					last = k
				}
				if !yield(e) {
					return
				}
			}
		}
	}
}

// readLogs reads the records of the log from a place on. Where a record is damaged,
// the next that is whole is looked for.
func (s *salvage) readLogs(head pointer, trusted bool) error {
	ids, err := logFiles(s.dir)
	if err != nil {
		return err
	}
	s.logs = make(map[uint32]*os.File)
	want := head.file
	for _, id := range ids {
		if err := s.ctx.Err(); err != nil {
			return err
		}
		name := logName(s.dir, id)
		f, err := os.Open(name)
		if err != nil {
			s.lost(store.Damage{File: name, Err: unreadable(name, err)})
			continue
		}
		s.logs[id] = f
		if id < head.file {
			continue
		}
		if trusted && id != want {
			s.lost(store.Damage{File: logName(s.dir, want), Err: corrupt(logName(s.dir, want), "is missing")})
		}
		want = id + 1
		offset := int64(0)
		if id == head.file {
			offset = int64(head.offset) + int64(head.size)
		}
		b, err := readFrom(name, offset)
		if fi, err2 := f.Stat(); err == nil && err2 == nil && fi.Size() < offset {
			err = errDamaged
		}
		if err != nil {
			s.lost(store.Damage{File: name, Err: unreadable(name, err)})
			continue
		}
		// The last write of a process that lost its power may be no more than begun. It
		// is listed too: a damaged last record looks the same.
		if !s.readLog(id, b, offset) {
			s.lost(store.Damage{File: name, Err: corrupt(name, "is damaged")})
		}
	}
	if trusted && want == head.file && head != (pointer{}) {
		s.lost(store.Damage{File: logName(s.dir, want), Err: corrupt(logName(s.dir, want), "is missing")})
	}
	slices.SortStableFunc(s.logged, func(a, b logged) int {
		return compareEntries(a.entry, b.entry)
	})
	return nil
}

// readLog keeps the records of a part of a log file, and reports whether all of them
// are whole and in their places.
func (s *salvage) readLog(id uint32, b []byte, offset int64) bool {
	w := logWalk{b: b}
	begun := len(s.logged)
	keep := func(e entry, at, size int) {
		if e.meta&endsTxn != 0 {
			return
		}
		e.key, e.value = bytes.Clone(e.key), nil
		s.logged = append(s.logged, logged{e, pointer{id, uint32(size), uint32(offset) + uint32(at)}})
	}
	for e, at, ok := w.next(); ok; e, at, ok = w.next() {
		keep(e, at, w.at-at)
		if w.open == 0 {
			begun = len(s.logged)
		}
	}
	next := w.resumes()
	if next < 0 {
		s.logged = s.logged[:begun] // a transaction that was not written to its end
		return w.whole == len(b)
	}
	for at := w.at; at < len(b); {
		e, size, ok := parseRecord(b[at:])
		switch {
		case ok:
			keep(e, at, size)
			at += size
		case followed(b[at:]) > 0: // by a record: only this one is damaged
			at += followed(b[at:])
		default:
			at++
		}
	}
	return false
}

// followed returns the size that the damaged record at the beginning of b says it has,
// if a whole one stands behind it, else 0.
func followed(b []byte) int {
	if len(b) < logHeader {
		return 0
	}
	size := logHeader + int64(be32(b)) + int64(be32(b[4:])) + 4
	if size >= int64(len(b)) {
		return 0
	}
	if _, _, ok := parseRecord(b[size:]); !ok {
		return 0
	}
	return int(size)
}

// A stream is a source of entries in order, at one of them.
type stream struct {
	entry
	at    *pointer // of the record, if it is of the log
	rank  int      // of two with one key and version, the lower one is right
	pull  func() (entry, bool)
	close func()
}

// streams opens everything that was read.
func (s *salvage) streams() []*stream {
	var out []*stream
	for _, t := range s.tables {
		if len(t.ends) == 0 {
			continue
		}
		st := &stream{}
		if t.suspect {
			st.rank = 2
		}
		st.pull, st.close = iter.Pull(t.entries())
		out = append(out, st)
	}
	log := &stream{rank: 1, at: new(pointer), close: func() {}}
	i := 0
	log.pull = func() (entry, bool) {
		if i == len(s.logged) {
			return entry{}, false
		}
		*log.at = s.logged[i].at
		i++
		return s.logged[i-1].entry, true
	}
	return append(out, log)
}

// each gives every version of every key that was read, in order.
func (s *salvage) each(f func(entry, *pointer) error) error {
	streams := s.streams()
	defer func() {
		for _, st := range streams {
			st.close()
		}
	}()
	live := make(streamHeap, 0, len(streams))
	for _, st := range streams {
		if e, ok := st.pull(); ok {
			st.entry = e
			live = append(live, st)
		}
	}
	heap.Init(&live)
	for n := 0; len(live) > 0; n++ {
		if n%1024 == 0 && s.ctx.Err() != nil {
			return s.ctx.Err()
		}
		st := live[0]
		if err := f(st.entry, st.at); err != nil {
			return err
		}
		if e, ok := st.pull(); ok {
			st.entry = e
			heap.Fix(&live, 0)
		} else {
			heap.Pop(&live)
		}
	}
	return nil
}

type streamHeap []*stream

func (h streamHeap) Len() int      { return len(h) }
func (h streamHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *streamHeap) Push(x any)   { *h = append(*h, x.(*stream)) }
func (h *streamHeap) Pop() any {
	x := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return x
}

func (h streamHeap) Less(i, j int) bool {
	if c := compareEntries(h[i].entry, h[j].entry); c != 0 {
		return c < 0
	}
	return h[i].rank < h[j].rank
}

// compareEntries orders by key, the newest version first.
func compareEntries(a, b entry) int {
	return cmp.Or(bytes.Compare(a.key, b.key), cmp.Compare(b.version, a.version))
}

// merge gives the newest readable version of each key to put.
func (s *salvage) merge(put func(key, value []byte) error) error {
	var key []byte
	done := true // with key
	now := uint64(time.Now().Unix())
	return s.each(func(e entry, at *pointer) error {
		if key == nil || !bytes.Equal(e.key, key) {
			key, done = bytes.Clone(e.key), bytes.HasPrefix(e.key, ownPfx)
		}
		if done {
			return nil
		}
		if e.meta&deleted != 0 || e.expires > 0 && e.expires <= now {
			done = true
			return nil
		}
		value, err := s.value(e, at)
		if err == nil {
			var ok bool
			if value, ok = withoutSum(key, value); !ok {
				err = &lostValue{errDamaged, s.dir}
			}
		}
		if err != nil {
			s.lost(store.Damage{
				File: err.file, Lower: key, Upper: append(bytes.Clone(key), 0),
				Err: unreadable(err.file, err.error),
			})
			return nil // an older version may be readable
		}
		done = true
		return put(key, value)
	})
}

// lostValue is why the value of an entry cannot be read.
type lostValue struct {
	error
	file string
}

// value reads the value of an entry, wherever it is.
func (s *salvage) value(e entry, at *pointer) ([]byte, *lostValue) {
	if at != nil {
		return s.pointed(*at, e)
	}
	if e.meta&isPointer == 0 {
		return bytes.Clone(e.value), nil
	}
	p, ok := parsePointer(e.value)
	if !ok {
		return nil, &lostValue{errDamaged, s.dir}
	}
	v, err := s.pointed(p, e)
	if err == nil || s.logs[p.file] != nil {
		return v, err
	}
	if err2 := s.findMoves(); err2 != nil {
		return nil, &lostValue{err2, s.dir}
	}
	m, ok := s.moves[string(joinKey(e.key, e.version))]
	if !ok {
		return nil, err
	}
	m.key = append(bytes.Clone(movePfx), m.key...)
	if m.meta&isPointer == 0 {
		return m.value, nil
	}
	p, ok = parsePointer(m.value)
	if !ok {
		return nil, err
	}
	return s.pointed(p, m)
}

// findMoves finds where long values are that were moved out of files that are gone.
func (s *salvage) findMoves() error {
	if s.moves != nil {
		return nil
	}
	s.moves = make(map[string]entry)
	return s.each(func(e entry, at *pointer) error {
		key, ok := bytes.CutPrefix(e.key, movePfx)
		if !ok || e.meta&deleted != 0 {
			return nil
		}
		m := entry{key: bytes.Clone(key), version: e.version, meta: e.meta, value: bytes.Clone(e.value)}
		if at != nil {
			m.meta, m.value = e.meta|isPointer, at.append(nil)
		}
		k := string(joinKey(m.key, m.version))
		if old, ok := s.moves[k]; !ok || later(m, old) {
			s.moves[k] = m
		}
		return nil
	})
}

// later reports whether a move was made after another of the same version.
func later(a, b entry) bool {
	pa, _ := parsePointer(a.value)
	pb, _ := parsePointer(b.value)
	return pa.file > pb.file || pa.file == pb.file && pa.offset > pb.offset
}

// pointed reads the value of the record at p, which must be that of e.
func (s *salvage) pointed(p pointer, e entry) ([]byte, *lostValue) {
	name := logName(s.dir, p.file)
	f := s.logs[p.file]
	if f == nil {
		return nil, &lostValue{fs.ErrNotExist, name}
	}
	b := make([]byte, min(int64(p.size), 1<<30))
	if _, err := f.ReadAt(b, int64(p.offset)); err != nil {
		return nil, &lostValue{err, name}
	}
	r, size, ok := parseRecord(b)
	if !ok || size != len(b) || compareEntries(r, e) != 0 {
		return nil, &lostValue{errDamaged, name}
	}
	return r.value, nil
}
