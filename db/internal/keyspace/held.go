package keyspace

import "bytes"

// HeldKeys says by index key and _id key whether the document has the key.
type HeldKeys map[string]map[string]bool

// Set notes whether the document has the key; what is noted later counts.
func (h HeldKeys) Set(key, idKey []byte, has bool) {
	ids := h[string(key)]
	if ids == nil {
		ids = map[string]bool{}
		h[string(key)] = ids
	}
	ids[string(idKey)] = has
}

// Move notes that a document, whose keys in the unique index x were those of old, has
// those of now.
func (h HeldKeys) Move(sp Space, x *Index, idKey []byte, old, now *KeySet) {
	for _, k := range old.Keys {
		h.Set(sp.Key(TagIndex, Num(x.Num), k), idKey, false)
	}
	for _, k := range now.Keys {
		h.Set(sp.Key(TagIndex, Num(x.Num), k), idKey, true)
	}
}

// Other returns a document besides idKey that has key: the least of those noted, else one
// of those that stored gives and nothing noted denies; nil if there is none.
func (h HeldKeys) Other(key, idKey []byte, stored func(f func(k []byte) bool) error) (id []byte, err error) {
	over := h[string(key)]
	for k, has := range over {
		if has && k != string(idKey) && (id == nil || k < string(id)) {
			id = []byte(k)
		}
	}
	if id != nil {
		return id, nil
	}
	err = stored(func(k []byte) bool {
		if _, known := over[string(k)]; !known && !bytes.Equal(k, idKey) {
			id = bytes.Clone(k)
		}
		return id == nil
	})
	return id, err
}
