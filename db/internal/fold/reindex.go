package fold

import "github.com/weftdb/weft/db/internal/keyspace"

// reindex makes the local indexes those of the definition. Those of an empty
// collection are ready at once. What differs in its expiry alone keeps its entries; any
// other difference is a new index, under a new number, and the old number's entries are
// deleted in pieces.
func (b *batch) reindex(name string, doc []byte) error {
	def, err := b.fold.defs.Parse(doc)
	if err != nil {
		return err
	}
	var want []keyspace.IndexDef
	if def != nil {
		want = def.Indexes
	}
	// What waits to be written is under the old indexes, and counts.
	if err := b.emit(); err != nil {
		return err
	}
	old := b.coll(name)
	cat := b.cat // cloned once in a batch; the published one is never changed
	if cat == b.fold.Cat {
		cat = cat.Clone()
	}
	var xs []*keyspace.Index
	kept := map[uint32]bool{}
	changed := false
	for _, x := range want {
		if keyspace.FindIndex(xs, x) != nil || keyspace.Named(xs, x.Name) {
			continue
		}
		if had := keyspace.FindIndex(old.Indexes, x); had != nil {
			if kept[had.Num] = true; had.Shadow {
				had, changed = had.With(func(ix *keyspace.Index) { ix.Shadow = false }), true
			}
			xs = append(xs, had)
			continue
		}
		if had := keyspace.FindEntries(old.Indexes, x); had != nil && !kept[had.Num] {
			kept[had.Num], changed = true, true
			xs = append(xs, had.With(func(ix *keyspace.Index) { ix.ExpireAfter = x.ExpireAfter }))
			continue
		}
		cat.Next++
		ix, err := keyspace.NewIndex(x, cat.Next, b.stat(old).Docs == 0)
		if err != nil {
			return err
		}
		xs, changed = append(xs, ix), true
		b.builds = b.builds || !ix.Filled
	}
	// A shadow stays: whoever builds it has not defined it yet.
	for _, x := range old.Indexes {
		switch {
		case kept[x.Num]:
		case x.Shadow:
			xs = append(xs, x)
		default:
			cat.Dropped = append(cat.Dropped, x.Num)
			changed, b.builds = true, true
		}
	}
	if !changed {
		return nil
	}
	n := old.WithIndexes(xs)
	cat.Colls[name] = n
	b.cat = cat
	b.catalogs[n.Num] = true
	// Documents that are in the batch already are written under the new indexes.
	for _, e := range b.entries {
		if e.coll == old {
			e.coll = n
		}
	}
	return nil
}
