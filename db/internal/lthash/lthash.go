// Package lthash is LtHash16: a hash of a multiset that grows and shrinks by
// one element at a time, in any order. It has 1,024 lanes of 16 bits, added
// modulo 2^16; finding two sets with one hash is as hard as a lattice problem.
//
//	Seed ── an element's 32-byte hash      State ── the set's 2 KiB
package lthash

import (
	"encoding/binary"
	"sync"

	"lukechampine.com/blake3"
)

// Size is the encoded size of a State in bytes.
const Size = 2048

// A Seed stands for one element: a collision-resistant hash of it.
type Seed [32]byte

// A Delta is one element that enters the set or leaves it.
type Delta struct {
	Seed   Seed
	Remove bool
}

// A State is the hash of a multiset. The zero value is that of the empty set.
type State struct {
	lanes [Size / 8]uint64 // four lanes of 16 bits each
}

const high = 0x8000_8000_8000_8000

// add adds four lanes at once: the top bits are added without carry.
func add(a, b uint64) uint64 { return ((a &^ high) + (b &^ high)) ^ ((a ^ b) & high) }

// sub subtracts four lanes at once.
func sub(a, b uint64) uint64 { return ((a | high) - (b &^ high)) ^ ((a ^ ^b) & high) }

// Apply changes the set by deltas. A long list is shared by two goroutines.
func (s *State) Apply(deltas []Delta) {
	const parallel = 128
	if len(deltas) < parallel {
		s.apply(deltas)
		return
	}
	var other State
	var wg sync.WaitGroup
	half := len(deltas) / 2
	wg.Go(func() { other.apply(deltas[:half]) })
	s.apply(deltas[half:])
	wg.Wait()
	for i := range s.lanes {
		s.lanes[i] = add(s.lanes[i], other.lanes[i])
	}
}

func (s *State) apply(deltas []Delta) {
	if len(deltas) == 0 {
		return
	}
	h := blake3.New(32, nil)
	var buf [Size]byte
	for i := range deltas {
		h.Reset()
		h.Write(deltas[i].Seed[:]) //nolint:errcheck // it never fails
		h.XOF().Read(buf[:])       //nolint:errcheck // it never fails within 2^64 bytes
		if deltas[i].Remove {
			for j := range s.lanes {
				s.lanes[j] = sub(s.lanes[j], binary.LittleEndian.Uint64(buf[8*j:]))
			}
			continue
		}
		for j := range s.lanes {
			s.lanes[j] = add(s.lanes[j], binary.LittleEndian.Uint64(buf[8*j:]))
		}
	}
}

// Append appends the state's Size bytes to dst, lanes little-endian.
func (s *State) Append(dst []byte) []byte {
	for _, l := range s.lanes {
		dst = binary.LittleEndian.AppendUint64(dst, l)
	}
	return dst
}

// Parse sets s to the state that Append wrote; b must hold Size bytes.
func (s *State) Parse(b []byte) bool {
	if len(b) != Size {
		return false
	}
	for i := range s.lanes {
		s.lanes[i] = binary.LittleEndian.Uint64(b[8*i:])
	}
	return true
}

// Sum returns a 32-byte hash of the state.
func (s *State) Sum() [32]byte { return blake3.Sum256(s.Append(nil)) }
