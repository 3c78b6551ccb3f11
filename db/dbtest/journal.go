// Package dbtest holds what tests of databases need: a [Journal] that lets
// databases exchange transactions directly, in any order, and [Open].
package dbtest

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/weftdb/weft/db/replica"
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/store"
)

// A Journal keeps transactions in a store, without signatures or seals. It is
// safe for concurrent use.
type Journal struct {
	st     store.Store
	prefix string
	log    clock.LogID
	writer string
	role   string
	right  func(clock.RecordID) string // nil: all are owners

	rights clock.Hash // changes with right

	mu  sync.Mutex // guards the fields below; held from Append to done
	n   int64      // the last arrival
	seq uint64     // of this device's log

	flushedMu sync.Mutex // guards flushed
	flushed   int64
}

// NewJournal returns the journal under prefix in st; it writes the log that
// name stands for.
func NewJournal(st store.Store, prefix, name string) (*Journal, error) {
	j := &Journal{st: st, prefix: prefix, log: sha256.Sum256([]byte(name)), writer: "did:key:" + name, role: "writer"}
	snap := st.Snapshot()
	defer snap.Release()
	it := snap.Iterate(store.Prefix([]byte(prefix + "n")))
	defer it.Close()
	for ; it.Valid(); it.Next() {
		v, err := it.Value()
		if err != nil {
			return nil, err
		}
		e, err := parse(v)
		if err != nil {
			return nil, err
		}
		k := it.Key()
		j.n = int64(binary.BigEndian.Uint64(k[len(k)-8:]))
		if e.ID.Log == j.log {
			j.seq = max(j.seq, e.ID.Seq)
		}
	}
	return j, it.Err()
}

func (j *Journal) arrival(n int64) []byte {
	return binary.BigEndian.AppendUint64([]byte(j.prefix+"n"), uint64(n))
}

func (j *Journal) id(id clock.RecordID) []byte {
	k := append([]byte(j.prefix+"k"), id.Log[:]...)
	return append(binary.BigEndian.AppendUint64(k, id.Seq), id.Hash[:]...)
}

func format(e replica.Entry) []byte {
	b := append(append([]byte(nil), e.ID.Log[:]...), e.ID.Hash[:]...)
	b = binary.BigEndian.AppendUint64(b, e.ID.Seq)
	b = binary.BigEndian.AppendUint64(b, uint64(e.Time))
	flag := byte(0)
	if e.Atomic {
		flag = 1
	}
	if e.Snapshot {
		flag |= 2
	}
	b = append(b, flag, byte(len(e.Writer)), byte(len(e.Role)))
	return append(append(append(b, e.Writer...), e.Role...), e.Payload...)
}

func parse(b []byte) (e replica.Entry, err error) {
	if len(b) < 83 || len(b) < 83+int(b[81])+int(b[82]) {
		return e, errors.New("dbtest: short record")
	}
	copy(e.ID.Log[:], b)
	copy(e.ID.Hash[:], b[32:])
	e.ID.Seq = binary.BigEndian.Uint64(b[64:])
	e.Time = clock.Time(binary.BigEndian.Uint64(b[72:]))
	e.Atomic, e.Snapshot = b[80]&1 != 0, b[80]&2 != 0
	w, r := 83+int(b[81]), 83+int(b[81])+int(b[82])
	e.Writer, e.Role = string(b[83:w]), string(b[w:r])
	e.Payload = append([]byte(nil), b[r:]...)
	return e, nil
}

// Append implements [replica.Journal].
func (j *Journal) Append(tx store.Tx, drafts []replica.Draft) (ids []clock.RecordID, first int64, done func(bool), err error) {
	j.mu.Lock()
	for i, d := range drafts {
		e := replica.Entry{Time: d.Time, Atomic: d.Atomic, Payload: d.Payload, Writer: j.writer, Role: j.role}
		e.ID = clock.RecordID{Log: j.log, Seq: j.seq + uint64(i) + 1}
		sum := sha256.Sum256(format(e))
		e.ID.Hash = sum
		if err = j.put(tx, j.n+int64(i)+1, e); err != nil {
			j.mu.Unlock()
			return nil, 0, nil, err
		}
		ids = append(ids, e.ID)
	}
	return ids, j.n + 1, func(committed bool) {
		if committed {
			j.n += int64(len(drafts))
			j.seq += uint64(len(drafts))
		}
		j.mu.Unlock()
	}, nil
}

func (j *Journal) put(tx store.Tx, n int64, e replica.Entry) error {
	if err := tx.Put(j.arrival(n), format(e)); err != nil {
		return err
	}
	return tx.Put(j.id(e.ID), binary.BigEndian.AppendUint64(nil, uint64(n)))
}

// Deliver stores records of other writers, in one transaction; those it has are left
// out. The caller wakes the database.
func (j *Journal) Deliver(es ...replica.Entry) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	tx := j.st.Begin()
	defer tx.Discard()
	n := j.n
	for _, e := range es {
		if _, err := tx.Get(j.id(e.ID)); err == nil {
			continue
		} else if !errors.Is(err, store.ErrNotFound) {
			return err
		}
		if err := j.put(tx, n+1, e); err != nil {
			return err
		}
		n++
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	j.n = n
	return nil
}

// Arrivals implements [replica.Journal].
func (j *Journal) Arrivals(n int64, maxBytes int) (out []replica.Arrival, err error) {
	snap := j.st.Snapshot()
	defer snap.Release()
	it := snap.Iterate(store.Range{Lower: j.arrival(n + 1), Upper: store.PrefixEnd([]byte(j.prefix + "n"))})
	defer it.Close()
	for size := 0; it.Valid() && (size == 0 || size < maxBytes); it.Next() {
		v, err := it.Value()
		if err != nil {
			return nil, err
		}
		e, err := parse(v)
		if err != nil {
			return nil, err
		}
		k := it.Key()
		n = int64(binary.BigEndian.Uint64(k[len(k)-8:]))
		out = append(out, replica.Arrival{N: n, Entry: e})
		size += len(v) + 1<<10
	}
	return out, it.Err()
}

// Read implements [replica.Journal].
func (j *Journal) Read(ns []int64, maxBytes int) (out []replica.Arrival, err error) {
	snap := j.st.Snapshot()
	defer snap.Release()
	size := 0
	for _, n := range ns {
		v, err := snap.Get(j.arrival(n))
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		e, err := parse(v)
		if err != nil {
			return nil, err
		}
		out = append(out, replica.Arrival{N: n, Entry: e})
		if size += len(v); size >= maxBytes {
			break
		}
	}
	return out, nil
}

// IDs implements [replica.Journal].
func (j *Journal) IDs(n int64, f func(n int64, id clock.RecordID, snapshot bool) bool) error {
	for {
		as, err := j.Arrivals(n, 1<<20)
		if err != nil || len(as) == 0 {
			return err
		}
		for i := range as {
			if n = as[i].N; !f(n, as[i].ID, as[i].Snapshot) {
				return nil
			}
		}
	}
}

// Prune deletes the records that c leaves out, but for the last arrival.
func (j *Journal) Prune(c replica.Cut) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	var gone []int64
	err := j.IDs(0, func(n int64, id clock.RecordID, _ bool) bool {
		if c.Void[id.Log].Has(id) && n < j.n {
			gone = append(gone, n)
		}
		return true
	})
	for _, n := range gone {
		if err != nil {
			return err
		}
		tx := j.st.Begin()
		if err = tx.Delete(j.arrival(n)); err == nil {
			err = tx.Commit()
		}
		tx.Discard()
	}
	return err
}

// Entries returns every record that the journal has, in the order of arrival.
func (j *Journal) Entries() (es []replica.Entry, err error) {
	for n := int64(0); ; {
		as, err := j.Arrivals(n, 1<<20)
		if err != nil || len(as) == 0 {
			return es, err
		}
		for _, a := range as {
			es, n = append(es, a.Entry), a.N
		}
	}
}

// Writer implements [replica.Journal]: "did:key:" and the name of the log.
func (j *Journal) Writer() (identity, role string) { return j.writer, j.role }

// SetRole makes role that of the records to come, before the database is opened.
func (j *Journal) SetRole(role string) { j.role = role }

// SetRights makes of say the roles by which records change definitions; of the zero ID,
// those to come. Until then every writer is an owner. The caller has the cut set again.
func (j *Journal) SetRights(of func(id clock.RecordID) string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.right = of
	j.rights[0]++
}

// Right implements [replica.Journal]: owners before admins before writers, of one role by
// their logs.
func (j *Journal) Right(id clock.RecordID) (role string, rank []byte, err error) {
	role = "owner"
	if j.right != nil {
		role = j.right(id)
	}
	log := id.Log
	if id == (clock.RecordID{}) {
		log = j.log
	}
	return role, Rank(role, log), nil
}

// Rank is the seniority of who writes a log.
func Rank(role string, log clock.LogID) []byte {
	n := map[string]byte{"owner": 1, "admin": 2}[role]
	if n == 0 {
		n = 3
	}
	return append([]byte{n}, log[:]...)
}

// View implements [replica.Journal]: of each log the last records, of which several may share
// a position.
func (j *Journal) View(limit int) (view []clock.RecordID) {
	es, err := j.Entries()
	if err != nil {
		panic(err) // a test's store
	}
	tops := map[clock.LogID]uint64{}
	for _, e := range es {
		tops[e.ID.Log] = max(tops[e.ID.Log], e.ID.Seq)
	}
	for _, e := range es {
		if !e.Snapshot && e.ID.Seq == tops[e.ID.Log] {
			view = append(view, e.ID)
		}
	}
	slices.SortFunc(view, func(a, b clock.RecordID) int {
		return cmp.Or(bytes.Compare(a.Log[:], b.Log[:]), bytes.Compare(a.Hash[:], b.Hash[:]))
	})
	return view[:min(len(view), limit)]
}

// Held implements [replica.Journal].
func (j *Journal) Held(id clock.RecordID) (at clock.Time, held bool, err error) {
	es, err := j.Entries()
	for _, e := range es {
		if e.ID == id {
			return e.Time, true, err
		}
	}
	return 0, false, err
}

// Precedes implements [replica.Journal]: of records that share a position none precedes the
// others.
func (j *Journal) Precedes(id, head clock.RecordID) (bool, error) {
	return id.Log == head.Log && (id == head || id.Seq < head.Seq), nil
}

// Unseen implements [replica.Journal].
func (j *Journal) Unseen(heads []clock.RecordID) (at clock.Time, ok bool, err error) {
	es, err := j.Entries()
	for _, e := range es {
		seen := slices.ContainsFunc(heads, func(h clock.RecordID) bool { return e.ID.Log == h.Log && (e.ID == h || e.ID.Seq < h.Seq) })
		if !seen && !e.Snapshot && (!ok || e.Time < at) {
			at, ok = e.Time, true
		}
	}
	return at, ok, err
}

// Authority implements [replica.Journal].
func (j *Journal) Authority() clock.Hash { return j.rights }

// Log returns the log that Append writes.
func (j *Journal) Log() clock.LogID { return j.log }

// Flushed implements [replica.Journal].
func (j *Journal) Flushed(n int64) {
	j.flushedMu.Lock()
	defer j.flushedMu.Unlock()
	j.flushed = max(j.flushed, n)
}

// FlushedTo returns the highest arrival that was reported flushed.
func (j *Journal) FlushedTo() int64 {
	j.flushedMu.Lock()
	defer j.flushedMu.Unlock()
	return j.flushed
}

// OpenIn returns a database in a given store that writes the log that name stands
// for. The test's end closes it.
func OpenIn(t testing.TB, st store.Store, name string) (*replica.Replica, *Journal) {
	t.Helper()
	j, err := NewJournal(st, "J/", name)
	if err != nil {
		t.Fatal(err)
	}
	d, err := replica.Open(t.Context(), replica.Options{Store: st, Prefix: []byte("D/"), Journal: j})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d, j
}
