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
	xs, changed, builds, err := cat.Reindexed(old, want, b.stat(old).Docs == 0)
	if !changed || err != nil {
		return err
	}
	b.builds = b.builds || builds
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
