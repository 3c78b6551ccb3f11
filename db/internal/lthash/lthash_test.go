package lthash

import (
	"encoding/binary"
	"testing"

	"lukechampine.com/blake3"
	"pgregory.net/rapid"
)

// naive is LtHash16 lane by lane.
func naive(lanes *[1024]uint16, d Delta) {
	h := blake3.New(32, nil)
	if _, err := h.Write(d.Seed[:]); err != nil {
		panic(err)
	}
	buf := make([]byte, Size)
	if _, err := h.XOF().Read(buf); err != nil {
		panic(err)
	}
	for i := range lanes {
		x := binary.LittleEndian.Uint16(buf[2*i:])
		if d.Remove {
			lanes[i] -= x
		} else {
			lanes[i] += x
		}
	}
}

func TestStateIsLaneWiseSum(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		deltas := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Delta {
			return Delta{Seed{rapid.Byte().Draw(t, "seed")}, rapid.Bool().Draw(t, "remove")}
		}), 0, 300).Draw(t, "deltas")
		var s, reversed State
		s.Apply(deltas)
		var lanes [1024]uint16
		for i := range deltas {
			naive(&lanes, deltas[i])
			reversed.Apply(deltas[len(deltas)-1-i : len(deltas)-i])
		}
		var want []byte
		for _, l := range lanes {
			want = binary.LittleEndian.AppendUint16(want, l)
		}
		if got := s.Append(nil); string(got) != string(want) {
			t.Fatal("state differs from the sum of lanes")
		}
		if s != reversed {
			t.Fatal("state depends on the order of changes")
		}
		var back State
		if !back.Parse(want) || back != s {
			t.Fatal("Parse does not give the state back")
		}
	})
}

func BenchmarkApply(b *testing.B) {
	deltas := make([]Delta, 1000)
	for i := range deltas {
		binary.LittleEndian.PutUint32(deltas[i].Seed[:], uint32(i))
	}
	var s State
	for b.Loop() {
		s.Apply(deltas)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/element")
}
