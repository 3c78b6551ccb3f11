package node_test

import (
	"errors"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/node"
)

// Row 1 of the table of attacks: a joined writer dates one definition before the owner's,
// which is an op that its own node would refuse. Nothing of the owner's is lost, on any
// node, and it goes on. Its own node lists the definition as refused, too.
func TestAttackDefinitionBeforeTheOwners(t *testing.T) {
	w := newTown(t)
	ctx := t.Context()
	a, b := w.device(w.options), w.device(w.options)
	if _, err := a.CreateDatabase(ctx, "atlas"); err != nil {
		t.Fatal(err)
	}
	url, err := a.Invite(ctx, "atlas", node.InviteOptions{})
	if err != nil {
		t.Fatal(err)
	}
	w.becomes(a, "atlas", "identical")
	if _, err := b.Join(ctx, url, ""); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the writer is a member", func() bool {
		all, err := a.Members("atlas")
		return err == nil && len(all) == 2
	})

	// The owner defines, and writes 100 documents.
	owners, err := a.Database(ctx, "atlas")
	if err != nil {
		t.Fatal(err)
	}
	rules := db.Rules{Write: `writer == "` + a.Identity().DID() + `"`}
	if err := owners.CreateCollection(ctx, "things", db.CollectionOptions{Rules: rules}); err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		w.insert(a, "atlas", bson.D{{Key: "_id", Value: i}})
	}
	w.becomes(a, "atlas", "identical")
	w.becomes(b, "atlas", "identical")

	// The writer's: nobody but itself may write. Its node refuses it, so it is forged.
	mine := db.Rules{Write: `writer == "` + b.Identity().DID() + `"`, Define: `writer == "` + b.Identity().DID() + `"`}
	theirs, err := b.Database(ctx, "atlas")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := theirs.ModifyCollection(ctx, "things", db.CollectionChange{Rules: &mine}); !errors.Is(err, db.ErrRole) {
		t.Errorf("on its own node: got %v", err)
	}
	if _, err := b.CreateDatabase(ctx, "forge"); err != nil {
		t.Fatal(err)
	}
	forge, err := b.Database(ctx, "forge")
	if err == nil {
		err = forge.CreateCollection(ctx, "things", db.CollectionOptions{Rules: mine})
	}
	if err != nil {
		t.Fatal(err)
	}
	at, err := node.FirstOf(a, "atlas")
	if err != nil {
		t.Fatal(err)
	}
	if err := node.Forge(b, "forge", "atlas", at-1); err != nil {
		t.Fatal(err)
	}
	for _, n := range []*node.Node{a, b} {
		d, err := n.Database(ctx, "atlas")
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, "the definition has come", func() bool { return d.Info().Refused > 0 })
		for r, err := range d.Refused(ctx, db.RefusedOptions{}) {
			if err != nil || r.Reason != db.ReasonRole || r.Collection != "system.collections" || r.Stamp.Time >= at {
				t.Errorf("refused: %+v, %v", r, err)
			}
		}
		if c, err := d.Collection("things").Count(ctx, nil); c != 100 || err != nil {
			t.Errorf("%d of 100 documents remain, %v", c, err)
		}
	}
	w.insert(a, "atlas", bson.D{{Key: "_id", Value: 100}})
	if _, err := owners.ModifyCollection(ctx, "things", db.CollectionChange{Rules: &rules}); err != nil {
		t.Error(err)
	}
	w.becomes(a, "atlas", "identical")
	w.becomes(b, "atlas", "identical")
}
