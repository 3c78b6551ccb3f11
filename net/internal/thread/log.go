package thread

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/net/internal/floor"
	"github.com/weftdb/weft/net/internal/format"
	"github.com/weftdb/weft/net/internal/held"
	"github.com/weftdb/weft/net/internal/logstore"
)

// addLog gives a log the next number; mu is held, or nobody else knows t.
func (t *Thread) addLog(d format.Descriptor, raw []byte) *held.Log {
	l := &held.Log{Log: logstore.Log{Num: uint32(len(t.byNum)), ID: format.LogIDOf(t.id, raw), Desc: d, Raw: raw}}
	t.number(l)
	return l
}

// number puts a log into the lists of all: what is done at each record follows what it
// concerns, and not how many logs there are.
func (t *Thread) number(l *held.Log) {
	t.byNum = append(t.byNum, l)
	t.logs[l.ID] = l
	i, _ := slices.BinarySearchFunc(t.byID, l.ID, func(o *held.Log, id clock.LogID) int { return bytes.Compare(o.ID[:], id[:]) })
	t.byID = slices.Insert(t.byID, i, l)
	if l.Desc.Kind != format.KindControl {
		t.ofData = append(t.ofData, l)
	}
}

// newLocalLog returns a log with the number that it will have after n others that
// are not installed yet.
func (t *Thread) newLocalLog(d format.Descriptor, n int) *held.Log {
	raw := d.Encode()
	return &held.Log{Log: logstore.Log{Num: uint32(len(t.byNum) + n), ID: format.LogIDOf(t.id, raw), Desc: d, Raw: raw}}
}

// installLocal takes a log of this device in, once its announcement has committed.
func (t *Thread) installLocal(l *held.Log) {
	if _, ok := t.logs[l.ID]; !ok {
		t.number(l)
	}
}

// installBranch takes next in as the branch of its number.
func (t *Thread) installBranch(l *held.Log, next *logstore.Branch) *held.Branch {
	b := l.Branch(next.Num)
	b.Branch = *next
	return b
}

// placeLogs finds what of the logs counts that some floors say of; mu is held.
func (t *Thread) placeLogs(r store.Reader, floors floor.Set, logs []*held.Log) error {
	ahead := func(id clock.RecordID) bool { return t.ahead(id) != nil }
	for _, l := range logs {
		if err := l.Place(t.rows, r, floors[l.ID], ahead); err != nil {
			return fmt.Errorf("log %s: %w", l.ID.Short(), err)
		}
	}
	return nil
}
