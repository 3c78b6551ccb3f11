package badgerkv

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/dgraph-io/badger"

	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store"
)

// Tables are mapped: a page that cannot be read is a fault of the goroutine that
// touches it, and a damaged table may send badger out of its bounds. Both become an
// ErrCorrupt of the read, as
//
//	defer e.caught(debug.SetPanicOnFault(true), &err)
func (e *engine) caught(before bool, err *error) {
	debug.SetPanicOnFault(before)
	p := recover()
	if p == nil {
		return
	}
	if r, ok := p.(runtime.Error); ok {
		if _, page := r.(interface{ Addr() uintptr }); page || strings.Contains(r.Error(), "out of range") {
			// What the runtime says of it is no word for people.
			*err = fault.Of(store.ErrCorrupt, "%s holds what cannot be read: run weft doctor", e.dir)
			return
		}
	}
	panic(p)
}

// unreadable is the ErrCorrupt for an error of a read.
func (e *engine) unreadable(err error) error {
	var id, size, offset uint32
	if _, at, ok := strings.Cut(err.Error(), "for vp: "); ok {
		if _, err2 := fmt.Sscanf(at, "{Fid:%d Len:%d Offset:%d}", &id, &size, &offset); err2 == nil {
			return corrupt(logName(e.dir, id), "is damaged")
		}
	}
	return fault.Of(store.ErrCorrupt, "%s holds what cannot be read: run weft doctor (%w)", e.dir, err)
}

// valueOf returns a copy of the value of an item in buf.
func (e *engine) valueOf(item *badger.Item, buf []byte) (v []byte, err error) {
	defer e.caught(debug.SetPanicOnFault(true), &err)
	long := item.ValueSize() >= inline
	v, err = item.ValueCopy(buf[:0])
	if err == nil && long && len(v) == 0 {
		// That is all that badger says of a value whose log file is gone.
		return nil, corrupt(e.dir, "lacks a log file that holds the value of a key")
	}
	if err != nil {
		return nil, e.unreadable(err)
	}
	v, ok := withoutSum(item.Key(), v)
	if !ok {
		return nil, corrupt(e.dir, "holds a value that was altered")
	}
	return v, nil
}
