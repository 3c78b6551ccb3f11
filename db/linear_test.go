package db_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/db/dbtest"
	"github.com/weftdb/weft/db/replica"
)

// A call is one thing that a client does with two small collections of
// numbered accounts.
type call struct {
	kind string
	a, b string
	n    int32
}

// bank is the model: collection/_id → balance.
type bank map[string]int32

func (k bank) sum(coll string) (n int32) {
	for id, v := range k {
		if id[0] == coll[0] {
			n += v
		}
	}
	return n
}

// step runs a call on the model and returns what the caller must see.
func (k bank) step(c call) (next bank, out string) {
	next = maps.Clone(k)
	v, ok := k[c.a]
	switch c.kind {
	case "move": // between collections, if there is enough
		if !ok || v < c.n {
			return k, "no"
		}
		next[c.a] -= c.n
		next[c.b] += c.n
		return next, "yes"
	case "open": // if its collection holds fewer than three accounts: a search that a phantom would break
		count := 0
		for id := range k {
			if id[0] == c.a[0] {
				count++
			}
		}
		if ok || count >= 3 {
			return k, "full"
		}
		next[c.a] = c.n
		return next, "opened"
	case "close":
		if !ok {
			return k, "none"
		}
		delete(next, c.a)
		return next, fmt.Sprint(v)
	case "sums":
		return k, fmt.Sprint(k.sum("x"), k.sum("y"))
	case "add": // findAndModify
		if !ok {
			return k, "none"
		}
		next[c.a] += c.n
		return next, fmt.Sprint(next[c.a])
	case "get":
		return k, fmt.Sprint(v, ok)
	}
	panic(c.kind)
}

var bankModel = porcupine.Model{
	Init: func() any { return bank{} },
	Step: func(s, in, out any) (bool, any) {
		next, want := s.(bank).step(in.(call))
		return want == out.(string), next
	},
	Equal: func(a, b any) bool { return maps.Equal(a.(bank), b.(bank)) },
}

func runCall(ctx context.Context, x *replica.Replica, t testing.TB, c call) (out string, err error) {
	coll := func(id string) string { return id[:1] }
	byID := func(id string) bson.Raw { return raw(t, d("_id", id)) }
	balance := func(tx *db.Tx, id string) (int32, bool, error) {
		doc, err := tx.Get(coll(id), idValue(id))
		if errors.Is(err, db.ErrNotFound) {
			return 0, false, nil
		}
		if err != nil {
			return 0, false, err
		}
		return doc.Raw.Lookup("n").Int32(), true, nil
	}
	switch c.kind {
	case "move":
		err = x.Transaction(ctx, db.TxOptions{Atomic: c.n%2 == 0}, func(tx *db.Tx) error {
			v, ok, err := balance(tx, c.a)
			if err != nil || !ok || v < c.n {
				out = "no"
				return err
			}
			out = "yes"
			if _, err := tx.Update(coll(c.a), byID(c.a), raw(t, d("$inc", d("n", -c.n))), db.UpdateOptions{}); err != nil {
				return err
			}
			_, err = tx.Update(coll(c.b), byID(c.b), raw(t, d("$inc", d("n", c.n))), db.UpdateOptions{Upsert: true})
			return err
		})
	case "open":
		err = x.Transaction(ctx, db.TxOptions{}, func(tx *db.Tx) error {
			fs, err := tx.Find(coll(c.a), nil, db.FindOptions{})
			if err != nil {
				return err
			}
			if len(fs) >= 3 || slices.ContainsFunc(fs, func(f bson.Raw) bool { return f.Lookup("_id").StringValue() == c.a }) {
				out = "full"
				return nil
			}
			out = "opened"
			_, err = tx.Insert(coll(c.a), raw(t, d("_id", c.a, "n", c.n)))
			return err
		})
	case "sums":
		err = x.Transaction(ctx, db.TxOptions{}, func(tx *db.Tx) error {
			var sums [2]int32
			for i, name := range []string{"x", "y"} {
				fs, err := tx.Find(name, nil, db.FindOptions{})
				if err != nil {
					return err
				}
				for _, f := range fs {
					sums[i] += f.Lookup("n").Int32()
				}
			}
			out = fmt.Sprint(sums[0], sums[1])
			return nil
		})
	case "close", "add":
		o, change := db.ModifyOptions{Remove: true}, bson.Raw(nil)
		if c.kind == "add" {
			o, change = db.ModifyOptions{New: true}, raw(t, d("$inc", d("n", c.n)))
		}
		m, err := x.Collection(coll(c.a)).FindAndModify(ctx, byID(c.a), change, o)
		if err != nil {
			return "", err
		}
		if !m.Found {
			return "none", nil
		}
		return fmt.Sprint(m.Document.Lookup("n").Int32()), nil
	case "get":
		doc, err := x.Collection(coll(c.a)).Get(ctx, idValue(c.a))
		if errors.Is(err, db.ErrNotFound) {
			return "0 false", nil
		}
		if err != nil {
			return "", err
		}
		return fmt.Sprint(doc.Raw.Lookup("n").Int32(), true), nil
	}
	return out, err
}

func idValue(s string) bson.RawValue { return id(s) }

// Whatever clients do at the same time, there is an order of their calls, within
// the times that they took, that explains every answer.
func TestTransactionsAreLinearizable(t *testing.T) {
	for range 50 { // a busy machine may run the clients one after the other
		if linearizable(t, 8, 40) > 0 || t.Failed() {
			return
		}
	}
	t.Fatal("no two transactions ever met: the test shows nothing")
}

// linearizable lets clients make calls, checks what they saw, and returns how many
// conflicts there were.
func linearizable(t *testing.T, clients, calls int) (conflicts int) {
	t.Helper()
	x, _ := dbtest.OpenIn(t, memory(t), "a")
	var mu sync.Mutex
	var history []porcupine.Operation
	began := time.Now()
	var wg sync.WaitGroup
	for client := range clients {
		rng := rand.New(rand.NewPCG(uint64(client), 1))
		wg.Go(func() {
			for range calls {
				c := call{
					kind: []string{"move", "move", "open", "open", "close", "sums", "add", "get"}[rng.IntN(8)],
					a:    fmt.Sprintf("%c%d", "xy"[rng.IntN(2)], rng.IntN(4)),
					n:    int32(rng.IntN(5)),
				}
				other := map[byte]byte{'x': 'y', 'y': 'x'}[c.a[0]]
				c.b = fmt.Sprintf("%c%d", other, rng.IntN(4))
				from := time.Since(began).Nanoseconds()
				out, err := runCall(t.Context(), x, t, c)
				for errors.Is(err, db.ErrConflict) {
					mu.Lock()
					conflicts++
					mu.Unlock()
					out, err = runCall(t.Context(), x, t, c)
				}
				if err != nil {
					t.Error(c, err)
					return
				}
				to := time.Since(began).Nanoseconds()
				mu.Lock()
				history = append(history, porcupine.Operation{ClientId: client, Input: c, Output: out, Call: from, Return: to})
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(history) != clients*calls {
		t.Fatalf("%d calls answered", len(history))
	}
	if r := porcupine.CheckOperationsTimeout(bankModel, history, time.Minute); r != porcupine.Ok {
		t.Fatalf("the history is %s", r)
	}
	return conflicts
}

// A transaction that searched, and would now find something else, conflicts.
func TestPhantomsConflict(t *testing.T) {
	x, _ := dbtest.OpenIn(t, memory(t), "a")
	ctx := t.Context()
	c := x.Collection("rooms")
	if _, err := c.Insert(ctx, raw(t, d("_id", 1, "free", true, "n", 1)), raw(t, d("_id", 2, "free", false, "n", 1))); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name     string
		filter   bson.D
		between  func() error
		conflict bool
	}{
		{"a match appears", d("free", true), func() error {
			_, err := c.Insert(ctx, raw(t, d("_id", 3, "free", true)))
			return err
		}, true},
		{"another document appears", d("free", true), func() error {
			_, err := c.Insert(ctx, raw(t, d("_id", 4, "free", false)))
			return err
		}, false},
		{"a document becomes a match", d("free", true), func() error {
			_, err := c.Update(ctx, raw(t, d("_id", 4)), raw(t, d("$set", d("free", true))), db.UpdateOptions{})
			return err
		}, true},
		{"a match ends", d("free", true), func() error {
			_, err := c.Update(ctx, raw(t, d("_id", 4)), raw(t, d("$set", d("free", false))), db.UpdateOptions{})
			return err
		}, true},
		{"a match is deleted", d("free", true), func() error {
			_, err := c.Delete(ctx, raw(t, d("_id", 3)), false)
			return err
		}, true},
		{"one by its _id appears", d("_id", 9), func() error {
			_, err := c.Insert(ctx, raw(t, d("_id", 9, "free", false)))
			return err
		}, true},
		{"another than the one by its _id appears", d("_id", 10), func() error {
			_, err := c.Insert(ctx, raw(t, d("_id", 11, "free", false)))
			return err
		}, false},
		{"one of many by their _id appears", d("_id", d("$in", many(100, 200))), func() error {
			_, err := c.Insert(ctx, raw(t, d("_id", 150)))
			return err
		}, true},
		{"nothing", d(), func() error { return nil }, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := x.Transaction(ctx, db.TxOptions{}, func(tx *db.Tx) error {
				if _, err := tx.Find("rooms", raw(t, tc.filter), db.FindOptions{}); err != nil {
					return err
				}
				if err := tc.between(); err != nil {
					return err
				}
				_, err := tx.Insert("log", raw(t, d("seen", tc.name)))
				return err
			})
			if errors.Is(err, db.ErrConflict) != tc.conflict {
				t.Fatalf("got %v", err)
			}
		})
	}
}

// many are the numbers from a to b-1.
func many(a, b int) (out bson.A) {
	for i := a; i < b; i++ {
		out = append(out, i)
	}
	return out
}

// What the committer looks at for one transaction is bounded: searches by _id cost it no
// more than their documents, and others so many changes each that they conflict in the end.
func TestPredicatesAreBounded(t *testing.T) {
	x, _ := dbtest.OpenIn(t, memory(t), "a")
	ctx := t.Context()
	c := x.Collection("c")
	if _, err := c.Insert(ctx, raw(t, d("_id", -1))); err != nil {
		t.Fatal(err)
	}
	at := 0
	commit := func(searches, changes int, filter func(i int) bson.D) error {
		return x.Transaction(ctx, db.TxOptions{}, func(tx *db.Tx) error {
			for i := range searches {
				if _, err := tx.Find("c", raw(t, filter(i)), db.FindOptions{}); err != nil {
					return err
				}
			}
			docs := make([]bson.Raw, changes)
			for i := range docs {
				docs[i] = raw(t, d("_id", at))
				at++
			}
			if _, err := c.Insert(ctx, docs); err != nil {
				return err
			}
			_, err := tx.Insert("log", raw(t, d("searches", searches)))
			return err
		})
	}
	never := func(int) bson.D { return d("x", 1) }
	if err := commit(400, 500, never); err != nil { // 200,000
		t.Error(err)
	}
	if err := commit(600, 500, never); !errors.Is(err, db.ErrConflict) { // 300,000
		t.Errorf("got %v, want a conflict", err)
	}
	if err := commit(600, 500, func(i int) bson.D { return d("_id", -2-i) }); err != nil {
		t.Error(err)
	}
}
