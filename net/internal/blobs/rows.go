package blobs

import (
	"encoding/binary"
	"errors"
	"slices"

	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/net/internal/format"
)

// What the store has of a blob, and of how many there were:
//
//	Rows ‖ blob ID      number u64be ‖ size u32be ‖ the sealed bytes, if they are few
//	Refs ‖ number       blob ID ‖ size u32be ‖ bytes of all blobs up to this one u64be
//	Refs ‖ 0            last number ‖ bytes up to it ‖ numbers without a blob ‖ their bytes
const (
	rowHead = 8 + 4  // before the sealed bytes
	refHead = 32 + 4 // before the sum
	refSize = refHead + 8
)

func (s *Store) rowKey(id format.BlobID) []byte { return slices.Concat(s.thread.Rows, id[:]) }

func (s *Store) refKey(n int64) []byte {
	b := make([]byte, 0, len(s.thread.Refs)+8)
	return binary.BigEndian.AppendUint64(append(b, s.thread.Refs...), uint64(n))
}

// row reads the row of a blob, which has its head; store.ErrNotFound if there is none.
func (s *Store) row(r store.Reader, id format.BlobID) ([]byte, error) {
	v, err := r.Get(s.rowKey(id))
	if err == nil && len(v) < rowHead {
		err = fault.Of(format.ErrMalformed, "the row of a blob is cut short")
	}
	return v, err
}

// rowNumber is the number in a row that has its head.
func rowNumber(v []byte) int64 { return int64(binary.BigEndian.Uint64(v)) }

// rowSize is how many sealed bytes a row says that there are.
func rowSize(v []byte) int { return int(binary.BigEndian.Uint32(v[8:])) }

// refNumber is the number in the key of a reference.
func refNumber(key []byte) int64 { return int64(binary.BigEndian.Uint64(key[len(key)-8:])) }

// refSum is the sum in a reference that is whole.
func refSum(v []byte) int64 { return int64(binary.BigEndian.Uint64(v[refHead:])) }

func decodeRef(key, v []byte) (Ref, error) {
	if len(v) < refHead {
		return Ref{}, fault.Of(format.ErrMalformed, "the reference to a blob is cut short")
	}
	return Ref{N: refNumber(key), ID: format.BlobID(v[:32]), Size: int(binary.BigEndian.Uint32(v[32:]))}, nil
}

// encode returns the value of a reference.
func (r Ref) encode(sum int64) []byte {
	v := binary.BigEndian.AppendUint32(slices.Clone(r.ID[:]), uint32(r.Size))
	return binary.BigEndian.AppendUint64(v, uint64(sum))
}

// row returns the value of a row, with the sealed bytes if they are few.
func (r Ref) row(sealed []byte) []byte {
	v := binary.BigEndian.AppendUint64(nil, uint64(r.N))
	v = binary.BigEndian.AppendUint32(v, uint32(r.Size))
	if r.Size <= maxInline {
		v = append(v, sealed...)
	}
	return v
}

// A tally says how much was deleted, so that what is held can be counted by numbers.
type tally struct{ count, bytes int64 }

func (g *tally) add(size int) { g.count, g.bytes = g.count+1, g.bytes+int64(size) }

// putGone writes, under number 0, how much is gone and where numbers have come to: the
// last blob may be deleted, and its number is not given again.
func (s *Store) putGone(tx store.Tx, g tally, last, sum int64) error {
	var v []byte
	for _, n := range []int64{last, sum, g.count, g.bytes} {
		v = binary.BigEndian.AppendUint64(v, uint64(n))
	}
	return tx.Put(s.refKey(0), v)
}

// loadGone reads what putGone wrote.
func (s *Store) loadGone(r store.Reader) error {
	v, err := r.Get(s.refKey(0))
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err == nil && len(v) != 32 {
		err = fault.Of(format.ErrMalformed, "the count of blobs is cut short")
	}
	if err != nil {
		return err
	}
	at := func(i int) int64 { return int64(binary.BigEndian.Uint64(v[8*i:])) }
	s.last, s.sum, s.gone = at(0), at(1), tally{at(2), at(3)}
	return nil
}
