package wire

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"slices"

	"github.com/weftdb/weft/net/internal/format"
)

// TagSize is the length of a thread's tag in bytes, tagsPerFrame how many one frame
// holds: so few that a stranger may send them.
const (
	TagSize      = 16
	tagsPerFrame = 512
	tagDomain    = "weft/1/thread-tag"
)

// A Tag names a thread to one peer without telling anything to a peer that does not
// have the thread's service key.
type Tag [TagSize]byte

// TagOf returns the thread's tag between two peers, the same for both.
func TagOf[P ~string](serviceKey []byte, id format.ThreadID, a, b P) Tag {
	low, high := min(a, b), max(a, b)
	m := hmac.New(sha256.New, serviceKey)
	for _, p := range [][]byte{[]byte(tagDomain), {0}, id[:], {byte(len(low))}, []byte(low), []byte(high)} {
		m.Write(p)
	}
	return Tag(m.Sum(nil)[:TagSize])
}

// JoinTags sorts tags and returns them as they are sent.
func JoinTags(tags []Tag) []byte {
	slices.SortFunc(tags, func(a, b Tag) int { return bytes.Compare(a[:], b[:]) })
	out := make([]byte, 0, len(tags)*TagSize)
	for _, t := range tags {
		out = append(out, t[:]...)
	}
	return out
}
