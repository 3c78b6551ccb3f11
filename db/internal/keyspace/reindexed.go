package keyspace

// Reindexed returns the indexes of a collection that is defined to have those of want. What
// had is defined keeps its entries; what is new gets a number, and is filled if the
// collection is empty; the numbers of the rest are dropped. It numbers in c, which is the
// caller's own; changed says that there is a difference, builds that there is work to do.
func (c *Catalog) Reindexed(old *Coll, want []IndexDef, empty bool) (xs []*Index, changed, builds bool, err error) {
	cat := c
	kept := map[uint32]bool{}
	for _, x := range want {
		if FindIndex(xs, x) != nil || Named(xs, x.Name) {
			continue
		}
		if had := FindIndex(old.Indexes, x); had != nil {
			if kept[had.Num] = true; had.Shadow {
				had, changed = had.With(func(ix *Index) { ix.Shadow = false }), true
			}
			xs = append(xs, had)
			continue
		}
		if had := FindEntries(old.Indexes, x); had != nil && !kept[had.Num] {
			kept[had.Num], changed = true, true
			xs = append(xs, had.With(func(ix *Index) { ix.ExpireAfter = x.ExpireAfter }))
			continue
		}
		cat.Next++
		ix, err := NewIndex(x, cat.Next, empty)
		if err != nil {
			return nil, false, false, err
		}
		xs, changed = append(xs, ix), true
		builds = builds || !ix.Filled
	}
	// A shadow stays: whoever builds it has not defined it yet.
	for _, x := range old.Indexes {
		switch {
		case kept[x.Num]:
		case x.Shadow:
			xs = append(xs, x)
		default:
			cat.Dropped = append(cat.Dropped, x.Num)
			changed, builds = true, true
		}
	}
	return xs, changed, builds, nil
}
