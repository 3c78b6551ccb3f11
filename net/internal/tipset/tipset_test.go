package tipset

import (
	"slices"
	"testing"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/vectors"
)

func tip(log byte, seq uint64, hash byte) clock.RecordID {
	return clock.RecordID{Log: clock.LogID{log}, Seq: seq, Hash: clock.Hash{hash}}
}

func set(tips ...clock.RecordID) Set { return Of(tips) }

func TestLacking(t *testing.T) {
	for name, x := range map[string]struct {
		have, lacks Set
		want        uint64
	}{
		"nothing":             {set(), set(tip(1, 3, 3)), 0},
		"same":                {set(tip(1, 3, 3)), set(tip(1, 3, 3)), 0},
		"a log more":          {set(tip(1, 3, 3), tip(2, 2, 2)), set(tip(1, 3, 3)), 2},
		"three more":          {set(tip(1, 9, 9)), set(tip(1, 6, 6)), 3},
		"it is ahead":         {set(tip(1, 6, 6)), set(tip(1, 9, 9)), 0},
		"other branch":        {set(tip(1, 6, 6)), set(tip(1, 6, 7)), 1},
		"a branch more":       {set(tip(1, 6, 6), tip(1, 4, 5)), set(tip(1, 6, 6)), 0},
		"ahead of two, on no": {set(tip(1, 6, 6)), set(tip(1, 7, 8), tip(1, 9, 9)), 1},
	} {
		if got := Lacking(x.have, x.lacks); got != x.want {
			t.Errorf("%s: got %d, want %d", name, got, x.want)
		}
	}
}

// A reader keeps what it read, whatever comes.
func TestNoteAndLearn(t *testing.T) {
	s := set(tip(1, 3, 3))
	read := s[clock.LogID{1}]
	s.Learn(tip(1, 2, 2), tip(1, 5, 5), tip(1, 5, 6), tip(1, 5, 6), tip(2, 1, 1))
	if want := []clock.RecordID{tip(1, 5, 5), tip(1, 5, 6)}; !slices.Equal(s[clock.LogID{1}], want) || len(s) != 2 {
		t.Errorf("learned %v", s)
	}
	s.Note([]clock.RecordID{tip(1, 4, 4), tip(3, 1, 1), tip(3, 1, 2), tip(4, 1, 1)}, 3)
	if len(s[clock.LogID{1}]) != 1 || len(s[clock.LogID{3}]) != 2 || len(s) != 3 {
		t.Errorf("noted %v", s)
	}
	if !slices.Equal(read, []clock.RecordID{tip(1, 3, 3)}) {
		t.Errorf("what was read is now %v", read)
	}
}

func TestReplace(t *testing.T) {
	var s Set
	for _, x := range []struct{ tips, changed []clock.RecordID }{
		{[]clock.RecordID{tip(2, 1, 1), tip(1, 1, 1)}, []clock.RecordID{tip(1, 1, 1), tip(2, 1, 1)}},
		{[]clock.RecordID{tip(2, 1, 1), tip(1, 1, 1)}, nil},
		{[]clock.RecordID{tip(2, 2, 2), tip(1, 1, 1)}, []clock.RecordID{tip(2, 2, 2)}},
		{[]clock.RecordID{tip(2, 2, 2), tip(2, 2, 3)}, []clock.RecordID{tip(2, 2, 2), tip(2, 2, 3)}},
	} {
		if got := s.Replace(x.tips); !slices.Equal(got, x.changed) {
			t.Errorf("%v: changed %v, want %v", x.tips, got, x.changed)
		}
	}
	for i, want := range []bool{true, true, false} {
		if got := Forked([]clock.RecordID{tip(2, 2, 2), tip(2, 2, 3), tip(1, 1, 1)}, i); got != want {
			t.Errorf("the log of tip %d is forked: got %v, want %v", i, got, want)
		}
	}
	if got := s.But(func(t clock.RecordID) bool { return t.Seq <= 2 }); len(got) != 0 {
		t.Errorf("what is cut off: %v", got)
	}
}

// The digest is compared between hosts: it cannot change.
func TestVectors(t *testing.T) {
	a, b := tip(2, 1, 3), tip(1, 9, 2)
	got := Digest([]clock.RecordID{a, b})
	if Digest([]clock.RecordID{b, a}) != got {
		t.Error("the digest depends on the order of the tips")
	}
	vectors.Check(t, "tips", "docs/design/sync.md, the digest of a statement", vectors.Vector{
		Name: "digest", Bytes: got[:], Gives: vectors.Gives{"tips": []clock.RecordID{b, a}},
	})
}

// What a peer has beyond the end of a log, of which it has not heard, is not lacking here.
func TestUntil(t *testing.T) {
	theirs := Of([]clock.RecordID{tip(1, 9, 1), tip(2, 5, 1), tip(3, 4, 1), tip(4, 2, 1)})
	mine := Of([]clock.RecordID{tip(1, 3, 7), tip(3, 4, 1), tip(4, 1, 1)})
	ends := map[clock.LogID]clock.RecordID{{1}: tip(1, 3, 7), {2}: {}, {3}: {}}
	end := func(log clock.LogID) (clock.RecordID, bool) { e, ok := ends[log]; return e, ok }
	got := theirs.Until(mine, end)
	if n := Lacking(got, mine); n != 1 {
		t.Errorf("%d lack here, want the one of the log without an end", n)
	}
	if n := Lacking(mine, got); n != 0 {
		t.Errorf("%d lack there", n)
	}
	if len(theirs) != 4 || len(got[clock.LogID{2}]) != 0 || len(got[clock.LogID{3}]) != 1 {
		t.Errorf("got %v of %v", got, theirs)
	}
}
