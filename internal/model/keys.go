package model

import "slices"

// Epochs returns the epochs that the key of a record is derived from: those that its
// author had seen and none of the others has. The first epoch is "".
func (s *State) Epochs(r *Record) (last []Hash) {
	w := s.fold(s.genesis, func(q *Record) bool { return q != r && s.has(r, q) })
	all := filter(w.kept, func(q *Record) bool {
		return (q.Kind == Rotate || q.Kind == Remove) && w.verdict[q.Hash] == OK && w.author[q.Hash].full(Admin)
	})
	for _, q := range all {
		if !slices.ContainsFunc(all, func(o *Record) bool { return o != q && s.has(o, q) }) {
			last = append(last, q.Hash)
		}
	}
	if last == nil {
		return []Hash{""}
	}
	return last
}

// Knows returns the epochs whose keys can be derived from devices, URLs of invites and
// all records, which a relay's disk has.
func (s *State) Knows(devices []string, urls []Hash) map[Hash]bool {
	known := map[Hash]bool{}
	if slices.Contains(devices, s.genesis.Device) {
		known[""] = true
	}
	for n := -1; n < len(known); {
		n = len(known)
		for _, r := range filter(s.sorted, func(r *Record) bool { return s.in[r.Hash] }) {
			opens := slices.ContainsFunc(r.Devices, func(d string) bool { return slices.Contains(devices, d) }) ||
				slices.ContainsFunc(r.Invites, func(u Hash) bool { return slices.Contains(urls, u) })
			if opens && (r.Kind == Rotate || r.Kind == Remove) {
				known[r.Hash] = true
			}
			if known[r.Hash] || r.Kind == Invite && slices.Contains(urls, r.Hash) {
				for _, h := range s.Epochs(r) { // those before a new one are sealed under its key
					known[h] = true
				}
			}
		}
	}
	return known
}

// Reads reports whether who knows epochs has all that the key of a record rests on.
func (s *State) Reads(known map[Hash]bool, r *Record) bool {
	return !slices.ContainsFunc(s.Epochs(r), func(h Hash) bool { return !known[h] })
}
