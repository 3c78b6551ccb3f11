package blobs

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/weftdb/weft/internal/vectors"
	"github.com/weftdb/weft/net/internal/format"
)

// TestVectors holds the rows of this package against testdata/vectors/blobs.json.
func TestVectors(t *testing.T) {
	sealed := []byte("the sealed bytes")
	r := Ref{N: 7, ID: format.BlobIDOf(sealed), Size: len(sealed)}
	at := time.Unix(1_700_000_000, 0).UTC()
	lack := Lack{ID: r.ID, Size: 100, Since: at}
	fresh := freshRuns{{first: 1, last: 4, at: at}, {first: 9, last: 9, at: at.Add(time.Second)}}
	vectors.Check(t, "blobs", "docs/design/net.md, Keys in the store",
		vectors.Vector{Name: "row", Bytes: r.row(sealed), Gives: vectors.Gives{"number": r.N, "size": r.Size, "sealed": sealed}},
		vectors.Vector{
			Name: "reference", Values: r, Bytes: r.encode(1 << 33), Gives: vectors.Gives{"sum": 1 << 33},
			Back: func(b []byte) (any, error) { return decodeRef(binary.BigEndian.AppendUint64([]byte("B"), 7), b) },
		},
		vectors.Vector{Name: "note of what is lacking", Bytes: lack.encode(), Gives: vectors.Gives{"size": lack.Size, "seconds": lack.Since.Unix()}},
		vectors.Vector{Name: "what came lately", Bytes: fresh.encode(), Gives: vectors.Gives{
			"runs": [][]int64{{1, 4, at.Unix()}, {9, 9, at.Unix() + 1}},
		}},
	)
	if got, err := decodeRef(append([]byte("B"), 0, 0, 0, 0, 0, 0, 0, 7), r.encode(5)); err != nil || got != r || rowNumber(r.row(sealed)) != r.N || rowSize(r.row(sealed)) != r.Size {
		t.Errorf("got %v, %v", got, err)
	}
}
