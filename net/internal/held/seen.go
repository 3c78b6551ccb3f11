package held

import (
	"errors"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/net/internal/control"
	"github.com/weftdb/weft/net/internal/format"
	"github.com/weftdb/weft/net/internal/logstore"
)

// A Seen reads which records of a log come before the heads that others have seen.
type Seen struct {
	*Log
	Rows   logstore.Table
	Reader store.Reader
	Err    error // of what was read
}

// UpTo returns the position of the last head that is held, of a log that is not forked:
// what is before that precedes it.
func (f *Seen) UpTo(heads []clock.RecordID) (seq uint64) {
	b := f.Branches[0]
	for _, h := range heads {
		if h.Seq <= seq || h.Seq > b.Tip.Seq {
			continue
		}
		if h.Seq <= f.Start() || h == b.Tip || f.held(h) {
			seq = h.Seq
		}
	}
	return seq
}

func (f *Seen) held(id clock.RecordID) bool {
	_, err := f.Rows.Record(f.Reader, f.Num, id)
	if err != nil && !errors.Is(err, format.ErrNotFound) {
		f.Err = err
	}
	return err == nil
}

// Defines reports whether a right covers what defines something at a position of a log that
// is not forked.
func (f *Seen) Defines(r *control.Right, seq uint64) bool {
	s := r.DefinesSpan(f.UpTo)
	return s.First <= seq && seq <= s.Last
}

// Defining returns the positions at which each of some rights covers what defines something.
func (f *Seen) Defining(rights []control.Right) func(i int) clock.Span {
	return func(i int) clock.Span { return rights[i].DefinesSpan(f.UpTo) }
}

// Paths reads the records of each branch that lie above the floor: of a log that its device
// forked, or whose control log has two first records.
func (f *Seen) Paths() (paths [][]control.Written) {
	for _, b := range f.Branches {
		if b.Void {
			continue
		}
		var path []control.Written
		err := f.Rows.WalkPath(f.Reader, f.Num, b.Tip, b.From.Seq, func(id clock.RecordID, s format.Stored) (bool, error) {
			h, err := format.DecodeHeader(s.Header)
			if err == nil {
				path = append(path, control.Written{ID: id, Control: h.Control})
			}
			return err == nil, err
		})
		if err != nil {
			f.Err = err
			return nil
		}
		paths = append(paths, path)
	}
	return paths
}
