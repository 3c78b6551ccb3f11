package payload

import (
	"bytes"
	"testing"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
)

// A horizon has one form, which is that of no other record.
func TestHorizonHasOneForm(t *testing.T) {
	head := func(log byte, seq uint64) clock.RecordID {
		return clock.RecordID{Log: clock.LogID{log}, Seq: seq, Hash: clock.Hash{log, byte(seq)}}
	}
	for _, view := range [][]clock.RecordID{{}, {head(1, 1)}, {head(1, 1), head(1, 300), head(2, 7)}} {
		b := EncodeHorizon(&Horizon{T: 7 << 16, View: view})
		h, err := DecodeHorizon(b)
		if err != nil || h.T != 7<<16 || len(h.View) != len(view) || !bytes.Equal(EncodeHorizon(h), b) || !IsHorizon(b) {
			t.Errorf("%d heads: got %v, %v", len(view), h, err)
		}
		if _, _, err := Decode(b, false); !fault.Is(err, fault.Malformed) {
			t.Errorf("as operations: got %v", err)
		}
		for n := range b {
			if _, err := DecodeHorizon(b[:n]); !fault.Is(err, fault.Malformed) {
				t.Errorf("cut to %d of %d bytes: got %v", n, len(b), err)
			}
		}
		if _, err := DecodeHorizon(append(b, 0)); !fault.Is(err, fault.Malformed) {
			t.Errorf("with more: got %v", err)
		}
	}
	many := make([]clock.RecordID, MaxView+1)
	for i := range many {
		many[i] = head(1, uint64(i+1))
	}
	for name, view := range map[string][]clock.RecordID{"twice": {head(1, 1), head(1, 1)}, "out of order": {head(2, 1), head(1, 1)}, "position 0": {head(1, 0)}, "too many": many} {
		if _, err := DecodeHorizon(EncodeHorizon(&Horizon{View: view})); !fault.Is(err, fault.Malformed) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func FuzzDecodeHorizon(f *testing.F) {
	f.Add(EncodeHorizon(&Horizon{T: 1, View: []clock.RecordID{{Log: clock.LogID{1}, Seq: 2}}}))
	f.Add([]byte{1, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		if h, err := DecodeHorizon(b); err == nil && !bytes.Equal(EncodeHorizon(h), b) {
			t.Errorf("%x is decoded, and encoded otherwise", b)
		}
	})
}
