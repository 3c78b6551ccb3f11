package net

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// alterBlob flips a bit of the file of a blob.
func (p *party) alterBlob(t *testing.T, id BlobID) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(p.opt.Dir, "*", "*", id.String()))
	if err != nil || len(files) != 1 {
		t.Fatalf("the file of blob %s: %v, %v", id, files, err)
	}
	b, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := os.WriteFile(files[0], b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// becomes waits until is reports true, looking whenever the thread changes.
func becomes(t *testing.T, th *Thread, what string, is func() bool) {
	t.Helper()
	for ctx := within(t); ; {
		status, records := th.StatusChanged(), th.held().Changed()
		if is() {
			return
		}
		select {
		case <-status:
		case <-records:
		case <-ctx.Done():
			t.Fatalf("%s: %+v", what, th.Status())
		}
	}
}

func lacking(t *testing.T, th *Thread, want int64) {
	t.Helper()
	lacks, err := th.LackedBlobs(0)
	if got := th.LackingBlobs(); got != want || int64(len(lacks)) != want || err != nil {
		t.Fatalf("%d blobs are lacking, %v, %v, want %d", got, lacks, err, want)
	}
}

// A relay that is asked for a blob which is damaged there sends the others, and gets it
// again from a member; who pulled through it meanwhile gets it then.
func TestDamagedBlobAtRelay(t *testing.T) {
	w := newWorld()
	r, a, b := newRelay(t, w), newParty(t), newParty(t)
	secret := w.newKey(t, w.developer)
	ta := a.create(t)
	var ids []BlobID
	for i := range 5 {
		ids = append(ids, a.putBlob(t, ta, bytes.Repeat([]byte{byte(i), 7}, 50_000)))
	}
	a.use(t, r, a.credential(t, secret))
	inv := a.invite(t, ta)
	identical(t, ta, r.ID())
	kept, err := r.Thread(ta.ID())
	if err != nil {
		t.Fatal(err)
	}
	a.halt(t)
	r.alterBlob(t, ids[2])

	b.connect(t, r)
	tb := b.joinBy(t, inv)
	b.use(t, r, b.credential(t, secret))
	becomes(t, tb, "the blobs that the relay has did not come", func() bool { return tb.Counts().Blobs == 4 })
	becomes(t, kept, "the relay serves a damaged blob", func() bool { return kept.LackingBlobs() == 1 })
	if _, err := tb.FetchBlob(within(t), ids[2]); !errors.Is(err, ErrNoBlob) {
		t.Fatalf("a blob that nobody in reach has: got %v", err)
	}

	a.start(t)
	ta = a.open(t, ta.ID())
	a.use(t, r, a.credential(t, secret))
	becomes(t, kept, "the relay did not get the blob again", func() bool { return kept.LackingBlobs() == 0 })
	becomes(t, tb, "the blob did not come", func() bool { return tb.held().HasBlob(ids[2]) })
	identical(t, ta, r.ID())
	identical(t, tb, r.ID())
	haveBlobs(t, kept, ids)
}

// While both are connected, a blob that turns out to be damaged is asked for at once, also
// of a peer that had listed it long before; until it is there the peer's status says so.
func TestDamagedBlobComesAgain(t *testing.T) {
	w := newWorld()
	r, a := newRelay(t, w), newParty(t)
	ta := a.create(t)
	first := a.putBlob(t, ta, bytes.Repeat([]byte("first"), 50_000))
	second := a.putBlob(t, ta, bytes.Repeat([]byte("second"), 50_000))
	a.use(t, r, a.credential(t, w.newKey(t, w.developer)))
	identical(t, ta, r.ID())
	kept, err := r.Thread(ta.ID())
	if err != nil {
		t.Fatal(err)
	}
	r.alterBlob(t, first)
	if n, err := kept.DropBlobs(t.Context(), first, second); n != 1 || err != nil {
		t.Fatalf("dropped %d, %v", n, err)
	}
	identical(t, ta, r.ID())
	becomes(t, kept, "the blob did not come again", func() bool { return kept.LackingBlobs() == 0 })
	haveBlobs(t, kept, []BlobID{first, second})

	a.alterBlob(t, second) // and a member reads on
	plain, err := ta.FetchBlob(within(t), second)
	if err != nil || !bytes.Equal(plain, bytes.Repeat([]byte("second"), 50_000)) {
		t.Fatalf("got %d bytes, %v", len(plain), err)
	}
	lacking(t, ta, 0)
}

// A damaged blob that nobody has is known to be lacking, also after a restart, until it is
// put again.
func TestDamagedBlobIsLost(t *testing.T) {
	a, b := newParty(t), newParty(t)
	ta := a.create(t)
	b.connect(t, a)
	tb := b.join(t, ta)
	identical(t, ta, b.ID())
	b.halt(t)
	plain := bytes.Repeat([]byte("only here"), 50_000)
	id := a.putBlob(t, ta, plain)
	a.alterBlob(t, id)
	for range 2 { // as it is found, and as it is known
		if _, err := ta.FetchBlob(within(t), id); !errors.Is(err, ErrLostBlob) {
			t.Fatalf("got %v", err)
		}
	}
	lacking(t, ta, 1)
	a.alterBlob(t, id) // the bit flips back
	if got, err := ta.FetchBlob(within(t), id); err != nil || !bytes.Equal(got, plain) {
		t.Fatalf("got %d bytes, %v, of a file that is whole again", len(got), err)
	}
	lacking(t, ta, 0)
	a.alterBlob(t, id)
	if _, err := ta.FetchBlob(within(t), id); !errors.Is(err, ErrLostBlob) {
		t.Fatalf("got %v", err)
	}
	lacking(t, ta, 1)
	a.halt(t)
	a.start(t)
	ta = a.open(t, ta.ID())
	lacking(t, ta, 1)
	b.start(t)
	tb = b.open(t, tb.ID())
	a.connect(t, b)
	identical(t, ta, b.ID())
	lacking(t, ta, 1)
	if again := a.putBlob(t, ta, plain); again != id {
		t.Fatalf("got blob %s, want %s", again, id)
	}
	lacking(t, ta, 0)
	identical(t, ta, b.ID())
	haveBlobs(t, tb, []BlobID{id})
}

// A thread that is begun again asks its peers for blobs that they had listed before, and
// for those that it could not take over.
func TestReopenedThreadGetsBlobs(t *testing.T) {
	for _, altered := range []bool{false, true} {
		reopenedGetsBlobs(t, altered)
	}
}

func reopenedGetsBlobs(t *testing.T, altered bool) {
	t.Helper()
	a, b := newParty(t), newParty(t)
	ta := a.create(t)
	b.connect(t, a)
	tb := b.join(t, ta)
	var ids []BlobID
	for i := range 3 {
		ids = append(ids, a.putBlob(t, ta, bytes.Repeat([]byte{byte(i), 7}, 50_000)))
	}
	identical(t, ta, b.ID())
	identical(t, tb, a.ID())
	left := int64(2)
	if altered {
		b.alterBlob(t, ids[1])
		left = 1
	}
	e, err := tb.Essence()
	if err == nil {
		err = b.Withdraw(tb.ID())
	}
	tx := b.store.Begin()
	defer tx.Discard()
	row := append(append(tb.Prefix(), 'b'), ids[2][:]...) // the store has lost it
	if err := errors.Join(err, tx.Delete(row), tx.Commit()); err != nil {
		t.Fatal(err)
	}
	tb, got, err := b.Reopen(context.Background(), e)
	if err != nil || got.Blobs != left || got.Left != 0 {
		t.Fatalf("got %+v, %v", got, err)
	}
	becomes(t, tb, "the blobs did not come again", func() bool { return tb.held().HasBlob(ids[1]) && tb.held().HasBlob(ids[2]) })
	lacking(t, tb, 0)
}
