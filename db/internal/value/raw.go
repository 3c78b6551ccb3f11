package value

import "go.mongodb.org/mongo-driver/v2/bson"

// OrEmpty returns doc, or an empty document for nil.
func OrEmpty(doc bson.Raw) bson.Raw {
	if doc == nil {
		return bson.Raw{5, 0, 0, 0, 0}
	}
	return doc
}

// Bytes returns documents as a record carries them; nil for none.
func Bytes(docs []bson.Raw) (out [][]byte) {
	for _, d := range docs {
		out = append(out, d)
	}
	return out
}

// Raws returns documents as what the driver calls them; they share their bytes.
func Raws(docs [][]byte) []bson.Raw {
	out := make([]bson.Raw, len(docs))
	for i, d := range docs {
		out[i] = d
	}
	return out
}
