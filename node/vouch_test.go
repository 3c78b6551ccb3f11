package node_test

import (
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/node"
)

// An admin's device that has all of the history vouches by itself for a cut that it has compared;
// then everybody deletes, whoever is asked.
func TestAdminVouches(t *testing.T) {
	w := newTown(t)
	a, b, c := w.device(w.options), w.device(w.options), w.device(w.options)
	if _, err := a.CreateDatabase(t.Context(), "atlas"); err != nil {
		t.Fatal(err)
	}
	url, err := a.Invite(t.Context(), "atlas", node.InviteOptions{Uses: 2})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []*node.Node{b, c} {
		if _, err := n.Join(t.Context(), url, "atlas"); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 20 {
		w.insert(a, "atlas", bson.D{{Key: "_id", Value: i}})
	}
	for _, n := range []*node.Node{b, c} {
		w.becomes(n, "atlas", "identical")
		waitHash(t, n, "atlas", info(t, a, "atlas"))
	}
	id := b.Identity()
	if err := a.SetRole(t.Context(), "atlas", id, "admin"); err != nil {
		t.Fatal(err)
	}
	w.becomes(b, "atlas", "identical")
	if got := compact(t, a, "atlas"); !got.Cut || got.Records < 20 || !got.Kept.IsZero() {
		t.Fatalf("the owner's: %+v", got)
	}
	for _, n := range []*node.Node{b, c} {
		deadline := time.Now().Add(30 * time.Second)
		for {
			got := compact(t, n, "atlas")
			if strings.Contains(got.Objection, "state") {
				t.Fatalf("it objects: %+v", got)
			}
			if got.Records >= 20 && got.Kept.IsZero() {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("nobody vouched: %+v", got)
			}
			w.becomes(n, "atlas", "identical")
		}
		waitHash(t, n, "atlas", info(t, a, "atlas"))
	}
}
