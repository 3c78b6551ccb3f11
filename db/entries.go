package db

import (
	"bytes"
	"math"
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/value"
)

const (
	// A document with more or longer entries in an index is kept aside and
	// looked at by every search of the index.
	maxEntries  = 256
	maxEntryKey = 1024
	// A text index takes more: a word each.
	maxTerms = 4096
)

var notANumber = func() value.Value {
	t, b, err := bson.MarshalValue(math.NaN())
	if err != nil {
		panic(err) // a double always has a form
	}
	return value.Value{Type: t, Data: b}
}()

// A keySet is the index keys of one document, ascending and distinct. It is
// used again and again: its keys are valid until the next fill.
type keySet struct {
	keys  [][]byte
	multi bool // the document has an array on the way to a key
	wide  bool // it has too many or too long keys, and none are here

	buf   []byte
	parts [][]value.Value // the values of each path
	pick  []int
}

// fill sets ks to the keys of doc in ix; doc may be nil for none.
func (ks *keySet) fill(ix *index, doc []byte) {
	ks.keys, ks.multi, ks.wide, ks.buf = ks.keys[:0], false, false, ks.buf[:0]
	if doc == nil || ix.filter != nil && !ix.filter.Match(doc) {
		return
	}
	if ix.text != nil {
		ks.fillText(ix, doc)
	} else {
		ks.fillValues(ix, doc)
	}
	if len(ks.keys) > 1 {
		slices.SortFunc(ks.keys, bytes.Compare)
		ks.keys = slices.CompactFunc(ks.keys, bytes.Equal)
	}
}

func (ks *keySet) fillText(ix *index, doc []byte) {
	ks.multi = true
	for _, t := range ix.text.terms(ix, doc) {
		if len(ks.keys) == maxTerms {
			ks.keys, ks.wide = ks.keys[:0], true
			return
		}
		at := len(ks.buf)
		ks.buf = appendTerm(ks.buf, t)
		ks.keys = append(ks.keys, ks.buf[at:len(ks.buf):len(ks.buf)])
	}
}

// fillValues makes a key of each combination of the values of the paths.
func (ks *keySet) fillValues(ix *index, doc []byte) {
	for len(ks.parts) < len(ix.paths) {
		ks.parts = append(ks.parts, nil)
	}
	n := 1
	for i, p := range ix.paths {
		vals, multi := p.IndexValues(ks.parts[i][:0], doc)
		ks.parts[i] = vals
		ks.multi = ks.multi || multi
		if n *= len(vals); n > maxEntries {
			ks.wide, ks.multi = true, true
			return
		}
	}
	ks.pick = ks.pick[:0]
	for range ix.paths {
		ks.pick = append(ks.pick, 0)
	}
	for ; n > 0; n-- {
		if !ks.fillOne(ix) {
			ks.keys, ks.wide, ks.multi = ks.keys[:0], true, true
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
func (ks *keySet) fillOne(ix *index) bool {
	at := len(ks.buf)
	missing := true
	for i, k := range ix.Keys {
		v := ks.parts[i][ks.pick[i]]
		if len(v.Data) > maxEntryKey {
			return false
		}
		missing = missing && isMissing(v)
		if ks.buf = value.AppendKey(ks.buf, v, k.Desc); len(ks.buf)-at > maxEntryKey {
			return false
		}
	}
	if ix.Sparse && missing {
		ks.buf = ks.buf[:at]
		return true
	}
	ks.keys = append(ks.keys, ks.buf[at:len(ks.buf):len(ks.buf)])
	return true
}

// isMissing tells the null of a missing field from one that a document holds.
func isMissing(v value.Value) bool { return v.Type == bson.TypeNull && v.Data == nil }

// has reports whether key is one of ks.
func (ks *keySet) has(key []byte) bool {
	if len(ks.keys) <= 8 {
		return slices.ContainsFunc(ks.keys, func(k []byte) bool { return bytes.Equal(k, key) })
	}
	_, ok := slices.BinarySearchFunc(ks.keys, key, bytes.Compare)
	return ok
}
