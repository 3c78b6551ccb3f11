package keyspace

import (
	"errors"
	"fmt"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/store"
)

// A Folded says up to which arrival a database is folded, and the hash of that
// state.
type Folded struct {
	Arrival   int64
	Hash      clock.Hash
	Authority clock.Hash // of the journal, when definitions were judged last
}

// Peek reads, without opening it, how far the database under prefix is
// folded. ok is false if only opening it can tell, because a fold was interrupted, or
// horizons are due.
func Peek(r store.Reader, prefix []byte) (f Folded, ok bool, err error) {
	sp := Space(prefix)
	for _, k := range [][]byte{sp.Key(TagRedo), sp.DueKey()} {
		if _, err := r.Get(k); !errors.Is(err, store.ErrNotFound) {
			return f, false, err
		}
	}
	m, err := LoadMeta(r, sp)
	if err == nil {
		f.Arrival, f.Hash = m.Cursor, m.Sum()
		f.Authority, err = LoadAuthority(r, sp)
	}
	if err != nil {
		return f, false, fmt.Errorf("peek: %w", err)
	}
	return f, true, nil
}

// LoadAuthority reads by what definitions were judged; nothing is the zero hash.
func LoadAuthority(r store.Reader, sp Space) (h clock.Hash, err error) {
	v, err := r.Get(sp.Key(TagAuthority))
	if errors.Is(err, store.ErrNotFound) {
		return h, nil
	}
	if err == nil && len(v) != len(h) {
		err = ErrCorrupt
	}
	copy(h[:], v)
	return h, err
}
