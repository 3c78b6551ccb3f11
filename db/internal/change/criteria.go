package change

import (
	"encoding/binary"
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/judge"
	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/db/internal/query"
)

// Criteria say which changes somebody wants to hear of. They are immutable, so those
// with equal ones share an audience: see package feed.
type Criteria struct {
	Colls  []string // sorted; nil: all but system collections
	IDKey  []byte   // nil: all documents
	Ops    OpSet    // the kinds of changes
	raw    bson.Raw // of filter
	Filter *query.Filter
	mod    bool // the filter reads _mod
	Image  Side
	Law    []byte // the key of a definition whose changes are told, too; nil for none
}

// Key is the same for the same criteria only.
func (m *Criteria) Key() string {
	k := []byte{byte(m.Ops), byte(m.Image)}
	k = binary.AppendUvarint(k, uint64(len(m.Colls)))
	for _, c := range m.Colls {
		k = append(binary.AppendUvarint(k, uint64(len(c))), c...)
	}
	k = append(binary.AppendUvarint(k, uint64(len(m.IDKey))), m.IDKey...)
	k = append(binary.AppendUvarint(k, uint64(len(m.Law))), m.Law...)
	return string(append(k, m.raw...))
}

// Covers reports whether a change of the collection may be for m.
func (m *Criteria) Covers(coll string) bool {
	if m.Colls == nil {
		return !strings.HasPrefix(coll, "system.")
	}
	return slices.Contains(m.Colls, coll)
}

// Matches reports whether a change, of a collection that m covers, is for m.
func (m *Criteria) Matches(c *Change) bool {
	if m.Law != nil && c.Coll == judge.SystemCollection {
		return string(m.Law) == string(c.IDKey)
	}
	if c.Op&m.Ops == 0 || m.IDKey != nil && string(m.IDKey) != string(c.IDKey) {
		return false
	}
	if m.Filter == nil || c.Op&OpOther != 0 {
		return true
	}
	before, after := c.Before.Doc != nil, c.After.Doc != nil
	switch m.Image {
	case sideBefore:
		return before && m.Fits(&c.Before) || !before && c.Current
	case SideEither:
		return c.Current || after && m.Fits(&c.After) || before && m.Fits(&c.Before)
	}
	if after {
		return m.Fits(&c.After)
	}
	return c.Current || before && m.Fits(&c.Before)
}

// Fits reports whether the filter, which there is, matches s.
func (m *Criteria) Fits(s *keyspace.State) bool {
	if m.mod {
		return m.Filter.Match(keyspace.WithMod(*s))
	}
	return m.Filter.Match(s.Doc)
}

// A Side says on which document of a change a filter is tested.
type Side uint8

// The images.
const (
	sideAfter  Side = iota // the document after the change; before it, if the change deletes it
	sideBefore             // the document before the change
	SideEither             // either of them
)

// Compile takes over the filter; an empty one is none.
func (m *Criteria) Compile(filter bson.Raw) (err error) {
	if len(filter) > 5 {
		m.raw = slices.Clone(filter)
		m.Filter, err = query.Compile(m.raw)
		m.mod = m.Filter.Tree().Names("_mod")
	}
	return err
}
