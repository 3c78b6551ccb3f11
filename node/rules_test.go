package node_test

import (
	"errors"
	"fmt"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/node"
)

// A rule knows writers by the identities of their devices, and who made the
// database; both replicas judge alike, also after a restart.
func TestRulesKnowWriters(t *testing.T) {
	w := newTown(t)
	ctx := t.Context()
	a, b := w.device(w.options), w.device(w.options)
	if _, err := a.CreateDatabase(ctx, "ruled"); err != nil {
		t.Fatal(err)
	}
	fold, err := a.Database(ctx, "ruled")
	if err != nil {
		t.Fatal(err)
	}
	rule := fmt.Sprintf(`doc.by == writer && (member.role == "owner") == (writer == %q)`, a.Identity().DID())
	o := db.CollectionOptions{Rules: db.Rules{Write: rule, Define: `member.role == "owner"`}}
	if err := fold.CreateCollection(ctx, "things", o); err != nil {
		t.Fatal(err)
	}
	w.insert(a, "ruled", bson.D{{Key: "_id", Value: 1}, {Key: "by", Value: a.Identity().DID()}})
	url, err := a.Invite(ctx, "ruled", node.InviteOptions{})
	if err != nil {
		t.Fatal(err)
	}
	w.becomes(a, "ruled", "identical")
	if _, err := b.Join(ctx, url, ""); err != nil {
		t.Fatal(err)
	}
	w.becomes(b, "ruled", "identical")
	theirs, err := b.Database(ctx, "ruled")
	if err != nil {
		t.Fatal(err)
	}
	if err := theirs.Settle(ctx); err != nil {
		t.Fatal(err)
	}
	w.insert(b, "ruled", bson.D{{Key: "_id", Value: 2}, {Key: "by", Value: b.Identity().DID()}})
	_, err = theirs.Collection("things").Insert(ctx, document(bson.D{{Key: "_id", Value: 3}, {Key: "by", Value: a.Identity().DID()}}))
	if !errors.Is(err, db.ErrRule) {
		t.Errorf("got %v, want a denial", err)
	}
	if _, err := theirs.ModifyCollection(ctx, "things", db.CollectionChange{Rules: &db.Rules{}}); !errors.Is(err, db.ErrRule) {
		t.Errorf("got %v, want a denial", err)
	}
	w.becomes(b, "ruled", "identical")
	want, err := b.DatabaseInfo(ctx, "ruled")
	if err != nil {
		t.Fatal(err)
	}
	home := a.Home()
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	a = open(t, node.Config{Home: home})
	w.becomes(a, "ruled", "identical")
	got, err := a.DatabaseInfo(ctx, "ruled")
	if err != nil {
		t.Fatal(err)
	}
	if got.Hash != want.Hash || got.Documents != 2 {
		t.Errorf("A has %+v, B has %+v", got, want)
	}
}
