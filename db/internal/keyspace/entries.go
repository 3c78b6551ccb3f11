package keyspace

import (
	"bytes"
	"math"
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/value"
)

const (
	// maxEntries bounds the entries of a document in an index. A document with more, or
	// with one that is longer than MaxEntryKey bytes, is kept aside and
	// looked at by every search of the index.
	maxEntries = 256
	// MaxEntryKey is how many bytes an index key has at most, without the _id's key.
	MaxEntryKey = 1024
	// A text index takes more: a word each.
	maxTerms = 4096
)

// NotANumber is NaN, which equals itself in an index and nothing in a comparison.
var NotANumber = func() value.Value {
	t, b, err := bson.MarshalValue(math.NaN())
	if err != nil {
		panic(err) // a double always has a form
	}
	return value.Value{Type: t, Data: b}
}()

// A KeySet is the index keys of one document, ascending and distinct. It is
// used again and again: its keys are valid until the next fill.
type KeySet struct {
	Keys  [][]byte
	Multi bool // the document has an array on the way to a key
	Wide  bool // it has too many or too long keys, and none are here

	buf   []byte
	parts [][]value.Value // the values of each path
	pick  []int
}

// Fill sets ks to the keys of doc in ix; doc may be nil for none.
func (ks *KeySet) Fill(ix *Index, doc []byte) {
	ks.Keys, ks.Multi, ks.Wide, ks.buf = ks.Keys[:0], false, false, ks.buf[:0]
	if doc == nil || ix.Filter != nil && !ix.Filter.Match(doc) {
		return
	}
	if ix.Text != nil {
		ks.fillText(ix, doc)
	} else {
		ks.fillValues(ix, doc)
	}
	if len(ks.Keys) > 1 {
		slices.SortFunc(ks.Keys, bytes.Compare)
		ks.Keys = slices.CompactFunc(ks.Keys, bytes.Equal)
	}
}

func (ks *KeySet) fillText(ix *Index, doc []byte) {
	ks.Multi = true
	for _, t := range ix.Text.terms(ix, doc) {
		if len(ks.Keys) == maxTerms {
			ks.Keys, ks.Wide = ks.Keys[:0], true
			return
		}
		at := len(ks.buf)
		ks.buf = AppendTerm(ks.buf, t)
		ks.Keys = append(ks.Keys, ks.buf[at:len(ks.buf):len(ks.buf)])
	}
}

// fillValues makes a key of each combination of the values of the paths.
//
//	index {a: 1, b: -1}, document {a: [1, 2], b: "x"}  →  keys (1, "x") and (2, "x"), Multi
//
// The product is bounded before it is built: two long arrays make a document wide.
func (ks *KeySet) fillValues(ix *Index, doc []byte) {
	for len(ks.parts) < len(ix.paths) {
		ks.parts = append(ks.parts, nil)
	}
	n := 1
	for i, p := range ix.paths {
		vals, multi := p.IndexValues(ks.parts[i][:0], doc)
		ks.parts[i] = vals
		ks.Multi = ks.Multi || multi
		if n *= len(vals); n > maxEntries {
			ks.Wide, ks.Multi = true, true
			return
		}
	}
	ks.pick = ks.pick[:0]
	for range ix.paths {
		ks.pick = append(ks.pick, 0)
	}
	for ; n > 0; n-- {
		if !ks.fillOne(ix) {
			ks.Keys, ks.Wide, ks.Multi = ks.Keys[:0], true, true
			return
		}
		for i := len(ks.pick) - 1; i >= 0; i-- {
			if ks.pick[i]++; ks.pick[i] < len(ks.parts[i]) {
				break
			}
			ks.pick[i] = 0
		}
	}
}

// fillOne adds the key of the picked values, and reports whether it is short
// enough.
func (ks *KeySet) fillOne(ix *Index) bool {
	at := len(ks.buf)
	missing := true
	for i, k := range ix.Keys {
		v := ks.parts[i][ks.pick[i]]
		if len(v.Data) > MaxEntryKey {
			return false
		}
		missing = missing && isMissing(v)
		if ks.buf = value.AppendKey(ks.buf, v, k.Desc); len(ks.buf)-at > MaxEntryKey {
			return false
		}
	}
	if ix.Sparse && missing {
		ks.buf = ks.buf[:at]
		return true
	}
	ks.Keys = append(ks.Keys, ks.buf[at:len(ks.buf):len(ks.buf)])
	return true
}

// isMissing tells the null of a missing field from one that a document holds.
func isMissing(v value.Value) bool { return v.Type == bson.TypeNull && v.Data == nil }

// Has reports whether key is one of ks.
func (ks *KeySet) Has(key []byte) bool {
	if len(ks.Keys) <= 8 {
		return slices.ContainsFunc(ks.Keys, func(k []byte) bool { return bytes.Equal(k, key) })
	}
	_, ok := slices.BinarySearchFunc(ks.Keys, key, bytes.Compare)
	return ok
}
