// Package numbers is the numbers of databases: each begins the keys of one in the store, and none
// is given twice.
package numbers

import (
	"encoding/binary"
	"errors"
	"strconv"

	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/node/internal/rows"
)

// Prefix begins the keys of a database of a number, after a byte of the caller's.
func Prefix(kind byte, number uint64) []byte {
	return binary.AppendUvarint([]byte{kind}, number)
}

// Of returns the number of the database that a key is of.
func Of(key []byte) (number uint64, ok bool) {
	number, n := binary.Uvarint(key[1:])
	return number, n > 0
}

// Raise makes sure that the next database gets a number which nothing has: no key that
// begins with kind, and none that named returns. The last that was given is under key last.
func Raise(st store.Store, last string, kind byte, named func(r store.Reader) (most uint64, err error)) error {
	tx := st.Begin()
	defer tx.Discard()
	given, err := tx.Get([]byte(last))
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	was, _ := strconv.ParseUint(string(given), 10, 64)
	used, err := named(tx)
	if err != nil {
		return err
	}
	used = max(used, was)
	r := store.Prefix([]byte{kind})
	r.KeysOnly = true
	it := tx.Iterate(r)
	for it.Valid() {
		number, ok := Of(it.Key())
		if !ok {
			it.Next()
			continue
		}
		used = max(used, number)
		it.Seek(store.PrefixEnd(Prefix(kind, number)))
	}
	err = it.Err()
	it.Close()
	if err != nil || used == was {
		return err
	}
	if err := tx.Put([]byte(last), strconv.AppendUint(nil, used, 10)); err != nil {
		return err
	}
	return rows.Commit(st, tx)
}
