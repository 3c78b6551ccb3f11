package net

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/keys"
)

// Two members that are connected converge, both ways.
func TestMembersConverge(t *testing.T) {
	a, b := newParty(t), newParty(t)
	ta := a.create(t)
	write(t, a, ta, 20)
	b.connect(t, a)
	tb := b.join(t, ta)
	write(t, b, tb, 5)
	identical(t, ta, b.ID())
	identical(t, tb, a.ID())
	write(t, a, ta, 3)
	identical(t, ta, b.ID())
	same(t, ta, tb)
}

// A device that never meets the writer gets everything from a relay.
func TestCatchUpThroughRelay(t *testing.T) {
	w := newWorld()
	secret := w.newKey(t, w.developer)
	r, a := newRelay(t, w), newParty(t)
	ta := a.create(t)
	write(t, a, ta, 50)
	a.use(t, r, a.credential(t, secret))
	identical(t, ta, r.ID())
	inv := a.invite(t, ta)
	identical(t, ta, r.ID())
	a.halt(t)

	b := newParty(t)
	b.connect(t, r)
	tb := b.joinBy(t, inv)
	b.use(t, r, b.credential(t, secret))
	identical(t, tb, r.ID())
	write(t, b, tb, 7)
	identical(t, tb, r.ID())
	kept, err := r.Thread(tb.ID())
	if err != nil {
		t.Fatal(err)
	}
	same(t, tb, kept)
}

func TestRefusals(t *testing.T) {
	w := newWorld()
	r := newRelay(t, w)
	stranger := newParty(t)
	good, other := w.newKey(t, w.developer), newWorld().newKey(t, keys.NewIdentity())
	revoked := w.newKey(t, w.developer)
	w.revoke(revoked.Public())
	inbox := w.newKey(t, w.developer, keys.ScopeInbox)
	for _, c := range []struct {
		name       string
		code       keys.Code
		credential func(*party) CredentialFunc
	}{
		{"no key", keys.CodeNoCredential, func(*party) CredentialFunc { return nil }},
		{"unknown key", keys.CodeKeyUnknown, func(p *party) CredentialFunc { return p.credential(t, other) }},
		{"revoked key", keys.CodeKeyRevoked, func(p *party) CredentialFunc { return p.credential(t, revoked) }},
		{"wrong scope", keys.CodeWrongScope, func(p *party) CredentialFunc { return p.credential(t, inbox) }},
		{"expired", keys.CodeCredentialExpired, func(p *party) CredentialFunc { return p.credential(t, good, expired) }},
		{"another audience", keys.CodeWrongAudience, func(p *party) CredentialFunc {
			return p.credential(t, good, func(o *keys.GrantOptions) { o.Audience = stranger.cert.Sign })
		}},
		{"another peer", keys.CodeWrongPeer, func(p *party) CredentialFunc { return stranger.credential(t, good) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newParty(t)
			th := p.create(t)
			write(t, p, th, 3)
			p.use(t, r, c.credential(p))
			ps := waitRefused(t, th, r.ID(), c.code)
			if ps.Reason == "" || ps.Role != "relay" {
				t.Errorf("status %+v", ps)
			}
			if len(r.Threads()) != 0 {
				t.Error("the relay stored something of a thread that it refused")
			}
			p.use(t, r, p.credential(t, good)) // the same device, with a good key
			identical(t, th, r.ID())
			if err := r.Remove(t.Context(), th.ID()); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// Two accounts do not count one thread: the second is refused.
func TestWrongOwner(t *testing.T) {
	w := newWorld()
	r, a, b := newRelay(t, w), newParty(t), newParty(t)
	first, second := w.newKey(t, w.developer), w.newKey(t, keys.NewIdentity())
	ta := a.create(t)
	a.use(t, r, a.credential(t, first))
	inv := a.invite(t, ta)
	identical(t, ta, r.ID())
	b.connect(t, r)
	tb := b.joinBy(t, inv)
	b.use(t, r, b.credential(t, second))
	waitRefused(t, tb, r.ID(), keys.CodeWrongOwner)
	b.use(t, r, b.credential(t, first))
	identical(t, tb, r.ID())
}

// A joiner without a key reads the control logs, and the relay takes nothing
// from it.
func TestJoinerWithoutKey(t *testing.T) {
	w := newWorld()
	r, a, b := newRelay(t, w), newParty(t), newParty(t)
	ta := a.create(t)
	write(t, a, ta, 4)
	a.use(t, r, a.credential(t, w.newKey(t, w.developer)))
	inv := a.invite(t, ta)
	identical(t, ta, r.ID())
	before := r.heads(t, ta)
	b.connect(t, r)
	tb := b.joinBy(t, inv)
	write(t, b, tb, 2)
	b.use(t, r, nil)
	waitRefused(t, tb, r.ID(), keys.CodeNoCredential)
	if after := r.heads(t, ta); after != before {
		t.Error("the relay stored records of a device without a key")
	}
}

// Revoking a key ends what is under way, and both sides' records stay.
func TestRevokeCutsLiveStreams(t *testing.T) {
	w := newWorld()
	r, a := newRelay(t, w), newParty(t)
	secret := w.newKey(t, w.developer)
	ta := a.create(t)
	a.use(t, r, a.credential(t, secret))
	write(t, a, ta, 2)
	identical(t, ta, r.ID())
	w.revoke(secret.Public())
	r.Recheck()
	waitRefused(t, ta, r.ID(), keys.CodeKeyRevoked)
	before := r.heads(t, ta)
	write(t, a, ta, 2)
	a.use(t, r, a.credential(t, secret)) // asks again, and is answered after the write
	waitRefused(t, ta, r.ID(), keys.CodeKeyRevoked)
	if after := r.heads(t, ta); after != before {
		t.Error("the relay took records after the key was revoked")
	}
	a.use(t, r, a.credential(t, w.newKey(t, w.developer))) // another key of the same owner
	identical(t, ta, r.ID())
}

// A permission ends with its grant; the device renews it before.
func TestGrantsExpireAndAreRenewed(t *testing.T) {
	w := newWorld()
	r, a := newRelay(t, w), newParty(t)
	secret := w.newKey(t, w.developer)
	asked := make(chan struct{}, 100)
	ta := a.create(t)
	a.use(t, r, func(audience keys.PublicKey) (*keys.Credential, error) {
		asked <- struct{}{}
		return a.credential(t, secret, func(o *keys.GrantOptions) { o.Expires = time.Now().Add(1500 * time.Millisecond) })(audience)
	})
	identical(t, ta, r.ID())
	for range 3 {
		select {
		case <-asked:
		case <-within(t).Done():
			t.Fatal("the grant was not renewed")
		}
	}
	write(t, a, ta, 1)
	identical(t, ta, r.ID())
}

// Peers find each other again after a restart, and go on from what they have.
func TestRestartResumes(t *testing.T) {
	w := newWorld()
	r, a := newRelay(t, w), newParty(t)
	secret := w.newKey(t, w.developer)
	ta := a.create(t)
	a.use(t, r, a.credential(t, secret))
	write(t, a, ta, 10)
	identical(t, ta, r.ID())
	r.opt.Listen = r.lp.Addrs() // the same ports again
	id := r.ID()
	r.halt(t)
	waitState(t, ta, id, StateUnreachable)
	write(t, a, ta, 5)
	r.start(t)
	identical(t, ta, r.ID())
	kept, err := r.Thread(ta.ID())
	if err != nil {
		t.Fatal(err)
	}
	same(t, ta, kept)
}

// Blobs travel ahead, and on demand.
func TestBlobs(t *testing.T) {
	w := newWorld()
	r, a, b := newRelay(t, w), newParty(t), newParty(t)
	secret := w.newKey(t, w.developer)
	ta := a.create(t)
	var ids []BlobID
	for i := range 30 {
		ids = append(ids, a.putBlob(t, ta, bytes.Repeat([]byte{byte(i), 7}, 100+i*i*i)))
	}
	a.use(t, r, a.credential(t, secret))
	inv := a.invite(t, ta)
	identical(t, ta, r.ID())
	kept, err := r.Thread(ta.ID())
	if err != nil {
		t.Fatal(err)
	}
	haveBlobs(t, kept, ids)
	a.halt(t)
	b.connect(t, r)
	tb := b.joinBy(t, inv)
	b.use(t, r, b.credential(t, secret))
	identical(t, tb, r.ID())
	for i, id := range ids {
		plain, err := tb.FetchBlob(within(t), id)
		if err != nil || !bytes.Equal(plain, bytes.Repeat([]byte{byte(i), 7}, 100+i*i*i)) {
			t.Fatalf("blob %x: %v", id[:4], err)
		}
	}
	if _, err := tb.FetchBlob(within(t), BlobID{1}); !errors.Is(err, ErrNoBlob) {
		t.Errorf("a blob that nobody holds: %v", err)
	}
}

// A device that was restored from a copy writes at positions that it had used:
// both branches reach everybody, and the fork is shown.
func TestForkIsShown(t *testing.T) {
	a, b := newParty(t), newParty(t)
	ta := a.create(t)
	write(t, a, ta, 3)
	b.connect(t, a)
	tb := b.join(t, ta)
	identical(t, ta, b.ID())
	a.halt(t)
	copied := t.TempDir()
	if err := os.CopyFS(copied+"/store", os.DirFS(a.dir+"/store")); err != nil {
		t.Fatal(err)
	}
	a.start(t)
	ta = a.open(t, tb.ID())
	writeOne(t, a, ta, []byte("before the restore"))
	a.connect(t, b)
	identical(t, ta, b.ID())
	a.halt(t)
	b.halt(t)

	a.dir = copied
	a.start(t)
	ta = a.open(t, ta.ID())
	writeOne(t, a, ta, []byte("after the restore"))
	b.start(t)
	tb = b.open(t, ta.ID())
	a.connect(t, b)
	identical(t, ta, b.ID())
	identical(t, tb, a.ID())
	writeOne(t, a, ta, []byte("in a new log"))
	identical(t, ta, b.ID())
	same(t, ta, tb)
	for _, th := range []*Thread{ta, tb} {
		forks, err := th.Forks()
		if err != nil || len(forks) != 1 || forks[0].Device != a.cert.Sign {
			t.Fatalf("forks %+v: %v", forks, err)
		}
		sentFromFork(t, th, forks[0])
	}
}

// sentFromFork checks what a peer is sent of a forked log that has one branch, or a part
// of one: what comes after the fork, not what it has.
func sentFromFork(t *testing.T, th *Thread, fork Fork) {
	t.Helper()
	var tips []clock.RecordID
	for _, tip := range th.held().Sendable() {
		if tip.Log == fork.Log {
			tips = append(tips, tip)
		}
	}
	if len(tips) != 2 {
		t.Fatalf("%d tips of the forked log", len(tips))
	}
	before, err := th.held().ReadRun(tips[0], 0, 0) // a part, of before the fork
	if err != nil {
		t.Fatal(err)
	}
	early, err := before.Last(th.ID())
	if err != nil || early.Seq >= fork.Seq {
		t.Fatalf("the first part ends at %d: %v", early.Seq, err)
	}
	for i, tip := range tips {
		other := tips[1-i]
		for _, c := range []struct {
			has   clock.RecordID
			after uint64
			lacks bool
		}{
			{tip, 0, false},
			{other, fork.Seq - 1, true},
			{early, early.Seq, true},
			{clock.RecordID{Log: fork.Log, Seq: fork.Seq, Hash: clock.Hash{1}}, 0, true}, // nobody holds it
		} {
			f := &feed{link: &link{share: th.share, theirs: map[clock.LogID][]clock.RecordID{}}, sent: map[clock.LogID][]clock.RecordID{fork.Log: {c.has}}}
			if after, lacks := f.position(tips, i); after != c.after || lacks != c.lacks {
				t.Errorf("a peer that has %d is sent %d after %d, %v, want after %d, %v", c.has.Seq, tip.Seq, after, lacks, c.after, c.lacks)
			}
		}
	}
}

// What the relay keeps holds no plaintext.
func TestRelayCannotRead(t *testing.T) {
	w := newWorld()
	r, a := newRelay(t, w), newParty(t)
	ta := a.create(t)
	a.use(t, r, a.credential(t, w.newKey(t, w.developer)))
	write(t, a, ta, 10)
	id := a.putBlob(t, ta, bytes.Repeat([]byte("secret document"), 10000))
	identical(t, ta, r.ID())
	kept, err := r.Thread(ta.ID())
	if err != nil {
		t.Fatal(err)
	}
	haveBlobs(t, kept, []BlobID{id})
	if _, err := kept.FetchBlob(within(t), id); err == nil {
		t.Error("the relay opened a blob")
	}
	if _, err := kept.Entry(ta.held().Tips()[0]); err == nil {
		t.Error("the relay opened a record")
	}
	r.halt(t)
	err = filepath.WalkDir(r.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if bytes.Contains(content, []byte("secret document")) || bytes.Contains(content, []byte("notes")) {
			t.Errorf("%s holds plaintext", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Members that know only a relay find each other by what it tells them.
func TestRelayIntroducesMembers(t *testing.T) {
	w := newWorld()
	r, a, b := newRelay(t, w), newParty(t), newParty(t)
	secret := w.newKey(t, w.developer)
	ta := a.create(t)
	a.use(t, r, a.credential(t, secret))
	inv := a.invite(t, ta)
	identical(t, ta, r.ID())
	b.connect(t, r)
	tb := b.joinBy(t, inv)
	b.use(t, r, b.credential(t, secret))
	identical(t, tb, r.ID())
	for ctx := within(t); !b.Connected(a.ID()); {
		if ctx.Err() != nil {
			t.Fatal("the members did not meet")
		}
		write(t, a, ta, 1)
		identical(t, ta, r.ID())
	}
	identical(t, ta, b.ID())
}

// What does not fit in one message goes in several: subscriptions, answers and
// acknowledgements, of whatever number of logs.
func TestTipsInManyFrames(t *testing.T) {
	parties := []*party{newParty(t), newParty(t), newParty(t)}
	for _, p := range parties {
		p.tipsPerFrame = 1
	}
	a, b, c := parties[0], parties[1], parties[2]
	ta := a.create(t)
	write(t, a, ta, 3)
	b.connect(t, a)
	tb := b.join(t, ta)
	write(t, b, tb, 3)
	identical(t, ta, b.ID())
	c.connect(t, a)
	tc := c.join(t, ta)
	write(t, c, tc, 3)
	identical(t, ta, c.ID())
	identical(t, tc, a.ID())
	for _, p := range []*party{b, c} {
		p.halt(t)
	}
	write(t, a, ta, 3)
	for _, p := range []*party{b, c} {
		p.start(t)
		th := p.open(t, ta.ID())
		p.connect(t, a)
		identical(t, th, a.ID())
		identical(t, ta, p.ID())
		same(t, ta, th)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for id, r := range a.peers {
		if r.faults != 0 {
			t.Errorf("%s has %d faults", id, r.faults)
		}
	}
}
