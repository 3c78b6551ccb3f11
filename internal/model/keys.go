package model

import "slices"

// Epochs returns the epochs that the key of a record is derived from: those that its
// author had seen and none of the others has. The first epoch is "".
func (j *judge) Epochs(r *Record) []Hash {
	w := j.fold(j.genesis, func(q *Record) bool { return j.has(r, q) && q != r })
	var all, last []Hash
	for _, q := range w.kept {
		if w.epoch(q) {
			all = append(all, q.Hash)
		}
	}
	for _, h := range all {
		if !slices.ContainsFunc(all, func(o Hash) bool { return o != h && j.has(j.recs[o], j.recs[h]) }) {
			last = append(last, h)
		}
	}
	if last == nil {
		return []Hash{""}
	}
	return last
}

// epoch reports whether a record makes one: it acts, and its author is owner or admin.
func (w *world) epoch(r *Record) bool {
	return (r.Kind == Rotate || r.Kind == Remove) && w.verdict[r.Hash] == OK && w.author[r.Hash].full(Admin)
}

// Knows returns the epochs whose keys can be derived from devices, URLs of invites and
// all records, which a relay's disk has.
func (j *judge) Knows(devices []string, urls []Hash) map[Hash]bool {
	known := set{"": slices.Contains(devices, j.genesis.Device)}
	learn := func(hs []Hash) (more bool) {
		for _, h := range hs {
			more = more || !known[h]
			known[h] = true
		}
		return more
	}
	for more := true; more; {
		more = false
		for _, r := range j.sorted {
			switch {
			case !j.in[r.Hash]:
			case r.Kind == Invite && slices.Contains(urls, r.Hash):
				more = learn(j.Epochs(r)) || more
			case r.Kind == Rotate || r.Kind == Remove:
				for _, d := range r.Devices {
					if slices.Contains(devices, d) {
						more = learn([]Hash{r.Hash}) || more
					}
				}
				for _, u := range r.Invites {
					if slices.Contains(urls, u) {
						more = learn([]Hash{r.Hash}) || more
					}
				}
				if known[r.Hash] {
					more = learn(j.Epochs(r)) || more // the keys before it, sealed under its own
				}
			}
		}
	}
	return known
}

// Reads reports whether who knows epochs has all that the key of a record rests on.
func (j *judge) Reads(known map[Hash]bool, r *Record) bool {
	return !slices.ContainsFunc(j.Epochs(r), func(h Hash) bool { return !known[h] })
}
