package number

import (
	"encoding/binary"
	"math"
	"math/big"
	"math/rand/v2"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/value"
)

func double(x float64) value.Value {
	return value.Value{Type: bson.TypeDouble, Data: binary.LittleEndian.AppendUint64(nil, math.Float64bits(x))}
}

// A sum of integers and doubles is the nearest double of the exact sum.
func TestSumOfDoublesIsTheNearest(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		want := new(big.Float).SetPrec(4000)
		var s Sum
		for range 1 + r.IntN(12) {
			var v value.Value
			switch r.IntN(4) {
			case 0:
				v = value.Int64(int64(r.Uint64()))
				want.Add(want, new(big.Float).SetInt64(v.Int()))
			default:
				x := math.Ldexp(r.Float64()-0.5, []int{0, 53, 54, 1, -1000, 1020, 60}[r.IntN(7)])
				if r.IntN(3) == 0 {
					x = math.Ldexp(math.Round(8*x), -4) // halves and even ones, so that ties come
				}
				v = double(x)
				want.Add(want, big.NewFloat(x))
			}
			s.Add(v)
		}
		f, _ := want.Float64()
		if got := s.float(); got != f {
			t.Fatalf("got %v, want %v: %+v", got, f, s)
		}
	}
}
