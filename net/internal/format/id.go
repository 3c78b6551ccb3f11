package format

import (
	"bytes"
	"cmp"
	"encoding/base32"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
)

// A ThreadID names a thread: the hash of its signed genesis. It can be checked
// against the genesis and is never a permission.
type ThreadID [32]byte

var idEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// String returns the multibase (base32, "b…") text form of the ID.
func (id ThreadID) String() string { return "b" + idEncoding.EncodeToString(id[:]) }

// ParseThreadID is the inverse of [ThreadID.String].
func ParseThreadID(s string) (ThreadID, error) {
	var id ThreadID
	if len(s) == 0 || s[0] != 'b' {
		return id, fault.Of(ErrMalformed, "thread ID %q does not begin with b", s)
	}
	p, err := idEncoding.DecodeString(s[1:])
	if err != nil || len(p) != len(id) || "b"+idEncoding.EncodeToString(p) != s {
		return id, fault.Of(ErrMalformed, "thread ID %q is not the base32 of 32 bytes", s)
	}
	return ThreadID(p), nil
}

// CompareHashes returns -1, 0 or +1 as a comes before, is, or comes after b.
func CompareHashes(a, b clock.Hash) int { return bytes.Compare(a[:], b[:]) }

// CompareIDs orders records by log, position and hash: it is the order in which
// tips are listed and digested.
func CompareIDs(a, b clock.RecordID) int {
	return cmp.Or(bytes.Compare(a.Log[:], b.Log[:]), cmp.Compare(a.Seq, b.Seq), bytes.Compare(a.Hash[:], b.Hash[:]))
}

// CompareHeads orders records by log and hash: of a view, which names one a branch.
func CompareHeads(a, b clock.RecordID) int {
	return cmp.Or(bytes.Compare(a.Log[:], b.Log[:]), bytes.Compare(a.Hash[:], b.Hash[:]))
}
