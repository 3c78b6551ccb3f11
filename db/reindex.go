package db

// reindex makes the local indexes those of the definition. Those of an empty
// collection are ready at once.
func (b *batch) reindex(name string, doc []byte) error {
	def, err := b.db.parse(doc)
	if err != nil {
		return err
	}
	var want []Index
	if def != nil {
		want = def.indexes
	}
	// What waits to be written is under the old indexes, and counts.
	if err := b.emit(); err != nil {
		return err
	}
	old := b.coll(name)
	cat := b.cat
	if cat == b.db.cat {
		cat = cat.clone()
	}
	var xs []*index
	kept := map[uint32]bool{}
	changed := false
	for _, x := range want {
		if findIndex(xs, x) != nil || named(xs, x.Name) {
			continue
		}
		if had := findIndex(old.indexes, x); had != nil {
			if kept[had.num] = true; had.shadow {
				had, changed = had.with(func(ix *index) { ix.shadow = false }), true
			}
			xs = append(xs, had)
			continue
		}
		if had := findEntries(old.indexes, x); had != nil && !kept[had.num] {
			kept[had.num], changed = true, true
			xs = append(xs, had.with(func(ix *index) { ix.ExpireAfter = x.ExpireAfter }))
			continue
		}
		cat.next++
		ix, err := newIndex(x, cat.next, b.stat(old).docs == 0)
		if err != nil {
			return err
		}
		xs, changed = append(xs, ix), true
		b.builds = b.builds || !ix.filled
	}
	for _, x := range old.indexes {
		switch {
		case kept[x.num]:
		case x.shadow:
			xs = append(xs, x)
		default:
			cat.dropped = append(cat.dropped, x.num)
			changed, b.builds = true, true
		}
	}
	if !changed {
		return nil
	}
	n := old.withIndexes(xs)
	cat.colls[name] = n
	b.cat = cat
	b.catalogs[n.num] = true
	for _, e := range b.entries {
		if e.coll == old {
			e.coll = n
		}
	}
	return nil
}

func findIndex(list []*index, x Index) *index {
	for _, ix := range list {
		if ix.same(x) {
			return ix
		}
	}
	return nil
}

// findEntries returns the index that differs from x in its expiry alone.
func findEntries(list []*index, x Index) *index {
	x.ExpireAfter = nil
	for _, ix := range list {
		had := ix.Index
		if had.ExpireAfter = nil; !ix.shadow && sameIndex(had, x) {
			return ix
		}
	}
	return nil
}

func named(list []*index, name string) bool {
	for _, ix := range list {
		if ix.Name == name {
			return true
		}
	}
	return false
}
