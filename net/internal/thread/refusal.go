package thread

import (
	"slices"

	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/net/internal/format"
)

// Refused returns the records that are kept and have no effect, control records
// first, by hash.
func (t *Thread) Refused() []Refusal {
	t.mu.Lock()
	defer t.mu.Unlock()
	control := slices.Clone(t.graph.State().Refused)
	slices.SortFunc(control, func(a, b Refusal) int { return format.CompareHashes(a.ID.Hash, b.ID.Hash) })
	return append(control, t.refused...)
}

func (t *Thread) loadRefused(r store.Reader) error {
	all, err := t.rows.Refused(r)
	for _, f := range all {
		t.refused = append(t.refused, Refusal(f))
	}
	return err
}
