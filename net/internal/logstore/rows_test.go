package logstore

import (
	"bytes"
	"testing"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/vectors"
	"github.com/weftdb/weft/net/internal/format"
)

func bytesFrom[T ~[32]byte](b byte) (a T) {
	for i := range a {
		a[i] = b + byte(i)
	}
	return a
}

// fixedBranch has a value in each field.
func fixedBranch() Branch {
	id := clock.RecordID{Log: bytesFrom[clock.LogID](1), Seq: 70000, Hash: bytesFrom[clock.Hash](2)}
	return Branch{Base: id, Tip: id, Time: 99, Signed: id, Done: id, Records: 1000, Bytes: 1 << 33}
}

func fixedBranchBytes() []byte { b := fixedBranch(); return b.encode() }

// TestVectors holds the rows of this package against testdata/vectors/rows.json: what the
// store of every home holds must never change.
func TestVectors(t *testing.T) {
	b := fixedBranch()
	f := Refusal{ID: b.Tip, Kind: fault.Void, Reason: "why"}
	k := format.FirstKeys(bytesFrom[format.ThreadID](1), bytesFrom[format.SecretKey](2), bytesFrom[format.SecretKey](3))
	s := Secrets{Relay: true, Keys: k.Encode(), Invite: []byte("invite")}
	a := ArrivalRef{N: 7, ID: clock.RecordID{Seq: 9, Hash: bytesFrom[clock.Hash](2)}, Log: 3}
	vectors.Check(t, "rows", "docs/design/net.md, Keys in the store",
		vectors.Vector{
			Name: "branch", Values: b, Bytes: b.encode(),
			Back: func(p []byte) (any, error) { return decodeBranch(b.Tip.Log, 0, p) },
		},
		vectors.Vector{
			Name: "refusal", Values: f, Bytes: f.encode(),
			Back: func(p []byte) (any, error) {
				var w refusalRow
				err := rows.Decode(p, "refusal", &w)
				id := clock.RecordID{Log: w.Log, Seq: w.Seq, Hash: w.Hash}
				return Refusal{ID: id, Kind: fault.Kind(w.Code), Reason: string(w.Reason)}, err
			},
		},
		vectors.Vector{
			Name: "secrets", Values: s, Bytes: s.Encode(),
			Back: func(p []byte) (any, error) { return DecodeSecrets(p) },
		},
		vectors.Vector{
			Name: "reference to an arrival", Values: a, Bytes: a.append(nil),
			Back: func(p []byte) (any, error) { return parseRef(a.N, p), nil },
		},
	)
}

// What is stored here is decoded as strictly as what peers send.
func FuzzRows(f *testing.F) {
	f.Add(fixedBranchBytes())
	f.Fuzz(func(t *testing.T, p []byte) {
		if b, err := decodeBranch(clock.LogID{}, 0, p); err == nil && !bytes.Equal(b.encode(), p) {
			t.Error("a branch encodes to other bytes")
		}
	})
}
