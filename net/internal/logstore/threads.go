package logstore

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/net/internal/format"
)

// Threads returns the IDs of the threads in the store.
func Threads(r store.Reader) ([]format.ThreadID, error) {
	it := r.Iterate(store.Prefix([]byte(keyThreads)))
	defer it.Close()
	var ids []format.ThreadID
	for ; it.Valid(); it.Next() {
		if k := it.Key(); len(k) == len(keyThreads)+32 {
			ids = append(ids, format.ThreadID(k[len(keyThreads):]))
		}
	}
	return ids, it.Err()
}

// Find returns the rows of a thread that the store lists; [format.ErrNotFound] if it
// lists no such.
func Find(r store.Reader, id format.ThreadID) (Table, error) {
	v, err := r.Get(listed(id))
	if errors.Is(err, store.ErrNotFound) {
		return Table{}, fault.Of(format.ErrNotFound, "this host does not hold thread %s", id)
	}
	if err != nil {
		return Table{}, fmt.Errorf("thread %s: %w", id, err)
	}
	if len(v) != 4 {
		return Table{}, fault.Of(format.ErrMalformed, "the number of thread %s is cut short", id)
	}
	return Table{id, binary.BigEndian.Uint32(v)}, nil
}

// Trace is Find also of what is left of a thread that the store does not list any more:
// its genesis tells whose it is.
func Trace(r store.Reader, id format.ThreadID) (Table, error) {
	t, err := Find(r, id)
	if !errors.Is(err, format.ErrNotFound) {
		return t, err
	}
	missing := err
	err = eachNumber(r, func(n uint32) bool {
		at := Table{id, n}
		if g, err := at.Genesis(r); err == nil && format.ThreadIDOf(g) == id {
			t, missing = at, nil
		}
		return missing != nil
	})
	return t, errors.Join(err, missing)
}

// Found lists a thread under the next number. Numbers are never used again: what a
// removal left behind would be read.
func Found(tx store.Tx, id format.ThreadID) (Table, error) {
	t := Table{thread: id}
	if _, err := tx.Get(listed(id)); err == nil {
		return t, fault.Errorf(fault.AlreadyExists, "the thread is held already")
	} else if !errors.Is(err, store.ErrNotFound) {
		return t, err
	}
	var err error
	if t.num, err = nextNumber(tx); err != nil {
		return t, err
	}
	return t, errors.Join(
		tx.Put([]byte(keyThreads), binary.BigEndian.AppendUint32(nil, t.num+1)),
		tx.Put(listed(id), binary.BigEndian.AppendUint32(nil, t.num)),
	)
}

// Unlist deletes the row that names a thread, if there is one.
func Unlist(tx store.Tx, id format.ThreadID) error { return tx.Delete(listed(id)) }

// listed is the key of the row that names a thread.
func listed(id format.ThreadID) []byte { return append([]byte(keyThreads), id[:]...) }

// nextNumber returns the number that the next thread gets.
func nextNumber(r store.Reader) (num uint32, err error) {
	v, err := r.Get([]byte(keyThreads))
	switch {
	case err == nil && len(v) == 4:
		return binary.BigEndian.Uint32(v), nil
	case err != nil && !errors.Is(err, store.ErrNotFound):
		return 0, err
	}
	return 0, nil
}

// Restored says that a store is a copy of what it was at another time: no thread goes on
// in a data log of this device, and new threads get numbers that nothing has. Calling it
// again changes nothing.
func Restored(tx store.Tx) error {
	it := tx.Iterate(store.Prefix([]byte(keyThreads)))
	var all []Table
	for ; it.Valid(); it.Next() {
		v, err := it.Value()
		if err != nil {
			it.Close()
			return fmt.Errorf("threads: %w", err)
		}
		if k := it.Key(); len(k) == len(keyThreads)+len(format.ThreadID{}) && len(v) == 4 {
			all = append(all, Table{format.ThreadID(k[len(keyThreads):]), binary.BigEndian.Uint32(v)})
		}
	}
	err := it.Err()
	it.Close()
	if err != nil {
		return fmt.Errorf("threads: %w", err)
	}
	for _, t := range all {
		control, data, err := t.Own(tx)
		if err != nil || control == NoLog && data == NoLog {
			continue // a thread that is kept for others has no logs of ours
		}
		if err := t.PutOwn(tx, control, NoLog); err != nil {
			return fmt.Errorf("own logs: %w", err)
		}
	}
	if err := recount(tx); err != nil {
		return fmt.Errorf("threads: %w", err)
	}
	return nil
}

// recount makes sure that the next thread gets a number which nothing in the store
// has, whatever was lost.
func recount(tx store.Tx) error {
	next, err := nextNumber(tx)
	if err != nil {
		return err
	}
	used := next
	err = eachNumber(tx, func(num uint32) bool { used = max(used, num+1); return true })
	if err != nil || used == next {
		return err
	}
	return tx.Put([]byte(keyThreads), binary.BigEndian.AppendUint32(nil, used))
}

// eachNumber calls f for each thread number under which the store holds something,
// until it returns false.
func eachNumber(r store.Reader, f func(num uint32) bool) error {
	rng := store.Prefix([]byte(keyThread))
	rng.KeysOnly = true
	it := r.Iterate(rng)
	defer it.Close()
	for it.Valid() {
		k := it.Key()
		if len(k) < len(keyThread)+4 {
			it.Next()
			continue
		}
		num := binary.BigEndian.Uint32(k[len(keyThread):])
		if !f(num) || num == 1<<32-1 {
			break
		}
		it.Seek(binary.BigEndian.AppendUint32([]byte(keyThread), num+1))
	}
	return it.Err()
}
