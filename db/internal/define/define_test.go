package define

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
	"pgregory.net/rapid"

	"github.com/weftdb/weft/db/internal/journal"
	"github.com/weftdb/weft/db/internal/judge"
	"github.com/weftdb/weft/db/internal/payload"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/clock"
)

// change is a link that sets a rule of a collection.
func change(tb testing.TB, log byte, n int, role, rule string) *Link {
	upd, err := bson.Marshal(bson.D{{Key: "$set", Value: bson.D{{Key: "rules", Value: bson.D{{Key: "define", Value: rule}}}}}})
	if err != nil {
		tb.Fatal(err)
	}
	none, err := bson.Marshal(bson.D{})
	if err != nil {
		tb.Fatal(err)
	}
	id := value.String("a")
	op := payload.Op{Kind: payload.Update, Coll: judge.SystemCollection, ID: id, Key: value.AppendKey(nil, id, false), Filter: none, Doc: upd, Upsert: true}
	rec := &journal.Record{N: int64(n), Time: clock.Time(n) << 16, Ops: []payload.Op{op}}
	rec.ID = clock.RecordID{Log: clock.LogID{log}, Seq: uint64(n), Hash: clock.Hash{byte(n), byte(n >> 8), log}}
	rank := map[string]byte{judge.RoleOwner: 1, judge.RoleAdmin: 2, "writer": 3}[role]
	return &Link{Rec: rec, Role: role, Rank: []byte{rank, log}, Whole: true}
}

// A chain that is made of the one before says what one that is made anew says.
func TestChainGrows(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var all []*Link
		seen := map[[2]clock.Hash]bool{}
		for n := range rapid.IntRange(1, 12).Draw(rt, "links") {
			role := rapid.SampledFrom([]string{judge.RoleOwner, judge.RoleAdmin, judge.RoleAdmin, "writer"}).Draw(rt, "role")
			rule := rapid.SampledFrom([]string{`member.role == "writer"`, `member.role == "owner"`, "true"}).Draw(rt, "rule")
			l := change(t, rapid.ByteRange(1, 3).Draw(rt, "log"), n+1, role, rule)
			l.Whole = rapid.IntRange(0, 7).Draw(rt, "whole") > 0
			for _, o := range all {
				seen[[2]clock.Hash{l.Rec.ID.Hash, o.Rec.ID.Hash}] = o.Rec.ID.Log == l.Rec.ID.Log || rapid.Bool().Draw(rt, "seen")
			}
			all = append(all, l)
		}
		saw := func(d *journal.Record, x clock.RecordID) (bool, error) {
			return seen[[2]clock.Hash{d.ID.Hash, x.Hash}], nil
		}
		order := rapid.Permutation(all).Draw(rt, "order")
		if rapid.Bool().Draw(rt, "in order") {
			order = all
		}
		var was *Chain
		for held := 0; held < len(order); {
			held += rapid.IntRange(1, len(order)-held).Draw(rt, "come")
			fold := func(was *Chain) *Chain {
				links := make([]*Link, held)
				for i, l := range order[:held] {
					links[i] = &Link{Rec: l.Rec, Role: l.Role, Rank: l.Rank, Whole: l.Whole}
				}
				c, err := Fold(links, nil, saw, was)
				if err != nil {
					rt.Fatal(err)
				}
				return c
			}
			anew := fold(nil)
			was = fold(was)
			for i, l := range anew.Links {
				if g := was.Links[i]; g.Rec != l.Rec || g.Code != l.Code || !bytes.Equal(g.Next.Doc, l.Next.Doc) {
					rt.Fatalf("link %d: %d and %v, made anew %d and %v", i, g.Code, g.Next.Doc, l.Code, l.Next.Doc)
				}
			}
		}
	})
}

// A hostile admin or writer defines the same thing again and again: what one more costs,
// when n are there, and what all cost at a start.
func BenchmarkChain(b *testing.B) {
	saw := func(*journal.Record, clock.RecordID) (bool, error) { return true, nil }
	for _, role := range []string{judge.RoleAdmin, "writer"} {
		for _, n := range []int{500, 1000, 2000} {
			var all []*Link
			for i := range n {
				all = append(all, change(b, 1, i+1, role, fmt.Sprint("member.role == \"", i, "\" || true")))
			}
			fold := func(links []*Link, was *Chain) *Chain {
				c, err := Fold(slices.Clone(links), nil, saw, was)
				if err != nil {
					b.Fatal(err)
				}
				return c
			}
			b.Run(fmt.Sprint(role, "/one more/", n), func(b *testing.B) {
				was := fold(all[:n-1], nil)
				for b.Loop() {
					fold(all, was)
				}
			})
			b.Run(fmt.Sprint(role, "/anew/", n), func(b *testing.B) {
				for b.Loop() {
					fold(all, nil)
				}
			})
		}
	}
}
