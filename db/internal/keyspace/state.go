package keyspace

import (
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/clock"
)

// SameState reports whether two states are equal: the same bytes, not only the same
// values, because the state hash is over bytes.
func SameState(a, b State) bool {
	return a.Mod == b.Mod && a.Dead == b.Dead && (a.Doc == nil) == (b.Doc == nil) &&
		(SameSlice(a.Doc, b.Doc) || string(a.Doc) == string(b.Doc))
}

// SameSlice reports whether a and b are the same memory. That two slices of one document
// are not compared byte by byte is what makes an operation without effect cheap.
func SameSlice(a, b []byte) bool { return len(a) == len(b) && len(a) > 0 && &a[0] == &b[0] }

// Visible returns the document as a filter, sort or projection sees it: with _mod
// if that names it.
func Visible(s State, mod bool) []byte {
	if !mod {
		return s.Doc
	}
	return WithMod(s)
}

// WithMod returns the document with the virtual field _mod.
func WithMod(s State) []byte {
	out := append(make([]byte, 0, len(s.Doc)+14), s.Doc[:len(s.Doc)-1]...)
	out = value.AppendElement(out, []byte("_mod"), value.DateTime(s.Mod.Wall().UnixMilli()))
	return value.End(out, 0)
}

// A State is a document at one place of the order.
type State struct {
	Doc  []byte     // nil if there is none
	Mod  clock.Time // of the last operation that changed it
	Dead bool       // it was deleted
}
