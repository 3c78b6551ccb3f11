package keyspace

import (
	"bytes"

	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/clock"
)

func SameState(a, b State) bool {
	return a.Mod == b.Mod && a.Dead == b.Dead && (a.Doc == nil) == (b.Doc == nil) &&
		(SameSlice(a.Doc, b.Doc) || string(a.Doc) == string(b.Doc))
}

func SameSlice(a, b []byte) bool { return len(a) == len(b) && len(a) > 0 && &a[0] == &b[0] }

// Visible returns the document as spec (a filter, sort or projection) sees it:
// with _mod if spec may read it.
func Visible(s State, spec []byte) []byte {
	if !bytes.Contains(spec, []byte("_mod\x00")) && !bytes.Contains(spec, []byte("$_mod")) {
		return s.Doc
	}
	return WithMod(s)
}

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
