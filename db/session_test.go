package db_test

import (
	"strings"
	"sync"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/dbtest"
	"github.com/weftdb/weft/db/replica"
)

// in makes a command part of a transaction.
func in(session string, number int, start bool, cmd bson.D) bson.D {
	cmd = append(cmd, d("lsid", d("id", session), "txnNumber", number, "autocommit", false)...)
	if start {
		cmd = append(cmd, d("startTransaction", true)...)
	}
	return cmd
}

func run(t *testing.T, x *replica.Replica, cmd bson.D) bson.Raw {
	t.Helper()
	reply, err := x.Run(t.Context(), raw(t, cmd))
	if err != nil {
		t.Fatal(err)
	}
	return reply
}

// fails runs a command that must fail with a code.
func fails(t *testing.T, x *replica.Replica, code int64, cmd bson.D, says ...string) bson.Raw {
	t.Helper()
	reply := run(t, x, cmd)
	got, _ := reply.Lookup("code").AsInt64OK()
	if why, _ := reply.Lookup("errmsg").StringValueOK(); got != code || !strings.Contains(why, strings.Join(says, "")) {
		t.Fatalf("got %v, want code %d %q", reply, code, says)
	}
	return reply
}

func works(t *testing.T, x *replica.Replica, cmd bson.D) bson.Raw {
	t.Helper()
	reply := run(t, x, cmd)
	if ok, _ := reply.Lookup("ok").AsInt64OK(); ok != 1 {
		t.Fatalf("%v gave %v", cmd, reply)
	}
	return reply
}

func count(t *testing.T, x *replica.Replica, coll string) int64 {
	t.Helper()
	n, err := x.Collection(coll).Count(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// A session's commands see their own writes, nobody else does before the commit.
func TestSessionCommits(t *testing.T) {
	x, _ := dbtest.OpenIn(t, memory(t), "a")
	works(t, x, in("s", 1, true, d("insert", "a", "documents", bson.A{d("_id", 1, "n", 1), d("_id", 2, "n", 1)})))
	works(t, x, in("s", 1, false, d("update", "a", "updates", bson.A{d("q", d("_id", 1), "u", d("$inc", d("n", 5)))})))
	works(t, x, in("s", 1, false, d("delete", "a", "deletes", bson.A{d("q", d("_id", 2), "limit", 1)})))
	reply := works(t, x, in("s", 1, false, d("findAndModify", "b", "query", d("_id", 9), "update", d("$set", d("x", 1)), "upsert", true, "new", true)))
	if reply.Lookup("value", "x").AsInt64() != 1 {
		t.Fatal(reply)
	}
	reply = works(t, x, in("s", 1, false, d("find", "a")))
	if found, _ := reply.Lookup("cursor", "firstBatch").Array().Values(); len(found) != 1 || found[0].Document().Lookup("n").AsInt64() != 6 {
		t.Fatal(reply)
	}
	if n := count(t, x, "a") + count(t, x, "b"); n != 0 {
		t.Fatalf("%d documents are seen before the commit", n)
	}
	works(t, x, in("s", 1, false, d("commitTransaction", 1)))
	if a, b := count(t, x, "a"), count(t, x, "b"); a != 1 || b != 1 {
		t.Fatalf("%d and %d documents after the commit", a, b)
	}
	fails(t, x, 251, in("s", 1, false, d("find", "a")))
}

func TestSessionAborts(t *testing.T) {
	x, _ := dbtest.OpenIn(t, memory(t), "a")
	insert := func(id int) bson.D { return d("insert", "a", "documents", bson.A{d("_id", id)}) }
	works(t, x, insert(0))
	works(t, x, in("s", 1, true, insert(1)))
	works(t, x, in("s", 1, false, d("abortTransaction", 1)))
	fails(t, x, 251, in("s", 1, false, d("commitTransaction", 1)))

	// An error ends the transaction.
	works(t, x, in("s", 2, true, insert(2)))
	if reply := run(t, x, in("s", 2, false, insert(0))); len(reply.Lookup("writeErrors").Array()) == 0 {
		t.Fatal(reply)
	}
	fails(t, x, 251, in("s", 2, false, d("commitTransaction", 1)))

	// A later one of the same session ends it too, and an older one is refused.
	works(t, x, in("s", 4, true, insert(4)))
	works(t, x, in("s", 5, true, insert(5)))
	fails(t, x, 225, in("s", 4, false, d("commitTransaction", 1)))
	works(t, x, in("s", 5, false, d("commitTransaction", 1)))

	// What another writer changed meanwhile is a conflict that says: again.
	works(t, x, in("s", 6, true, d("find", "a")))
	works(t, x, insert(7))
	works(t, x, in("s", 6, false, insert(6)))
	reply := fails(t, x, 112, in("s", 6, false, d("commitTransaction", 1)))
	if label, _ := reply.Lookup("errorLabels", "0").StringValueOK(); label != "TransientTransactionError" {
		t.Fatal(reply)
	}
	if n := count(t, x, "a"); n != 3 {
		t.Fatalf("%d documents, want those of 0, 5 and 7", n)
	}
	fails(t, x, 263, in("s", 8, true, d("drop", "a")))
	fails(t, x, 72, d("find", "a", "autocommit", false))
	fails(t, x, 72, d("find", "a", "startTransaction", true))
	fails(t, x, 251, in("t", 1, false, d("find", "a")))
}

// An aggregate in a transaction uses its hint, and refuses to explain.
func TestSessionAggregates(t *testing.T) {
	x, _ := dbtest.OpenIn(t, memory(t), "a")
	works(t, x, d("insert", "a", "documents", bson.A{d("_id", 1, "n", 2), d("_id", 2, "n", 1), d("_id", 3)}))
	works(t, x, d("createIndexes", "a", "indexes", bson.A{d("key", d("n", -1), "name", "n", "sparse", true)}))
	aggregate := func(more ...any) bson.D {
		return append(d("aggregate", "a", "pipeline", bson.A{d("$match", d("n", d("$gt", 0)))}, "cursor", d()), d(more...)...)
	}
	reply := works(t, x, in("s", 1, true, aggregate("hint", "n")))
	if found, _ := reply.Lookup("cursor", "firstBatch").Array().Values(); len(found) != 2 || found[0].Document().Lookup("_id").AsInt64() != 1 {
		t.Errorf("got %v, want the documents 1 and 2", reply)
	}
	fails(t, x, 2, in("s", 2, true, aggregate("hint", "nope")), "bad hint")
	fails(t, x, 263, in("s", 3, true, aggregate("explain", true)), "explain")
	works(t, x, in("s", 4, true, aggregate("explain", false)))
}

// A commit that is sent again, because its reply was lost, is answered again. Nothing else
// of a transaction that has ended is.
func TestSessionCommitsAgain(t *testing.T) {
	x, _ := dbtest.OpenIn(t, memory(t), "a")
	insert := func(id int) bson.D { return d("insert", "a", "documents", bson.A{d("_id", id)}) }
	commit := d("commitTransaction", 1)
	works(t, x, in("s", 1, true, insert(1)))
	works(t, x, in("s", 1, false, commit))
	works(t, x, in("s", 1, false, commit))
	works(t, x, in("s", 1, false, d("committransaction", 1)))
	if n := count(t, x, "a"); n != 1 {
		t.Errorf("got %d documents, want 1", n)
	}
	fails(t, x, 251, in("s", 1, false, insert(2)))
	fails(t, x, 251, in("s", 1, false, d("abortTransaction", 1)))
	fails(t, x, 251, in("s", 2, false, commit))
	fails(t, x, 251, in("other", 1, false, commit))

	// One that was aborted or refused is not there, whatever was committed before.
	works(t, x, in("s", 2, true, insert(2)))
	works(t, x, in("s", 2, false, d("abortTransaction", 1)))
	fails(t, x, 251, in("s", 2, false, commit))
	works(t, x, in("s", 1, true, insert(3)))
	works(t, x, in("s", 1, false, d("abortTransaction", 1)))
	fails(t, x, 251, in("s", 1, false, commit))

	// Of two commits at once both are answered.
	works(t, x, in("s", 7, true, insert(7)))
	var both sync.WaitGroup
	for range 4 {
		both.Go(func() {
			if reply, err := x.Run(t.Context(), raw(t, in("s", 7, false, commit))); err != nil || reply.Lookup("ok").Double() != 1 {
				t.Errorf("got %v, %v", reply, err)
			}
		})
	}
	both.Wait()
}
