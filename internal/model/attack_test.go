package model

import (
	"slices"
	"testing"
)

// Row 1: a writer, or an admin, dates a definition before the owner's.
func TestDefinitionDatedBefore(t *testing.T) {
	b := newBook()
	ann := b.owner()
	bob := ann.promoted(Admin, "bob")[0]
	eve := ann.join("eve", 1, ann.invite(Writer))
	meet(ann, bob, eve)
	docs := []*Record{ann.op("c", "1", "old")}
	mine := ann.define("c", Def{In: true, Shapes: []string{"old"}})
	docs = append(docs, ann.op("c", "2", "old"))
	// They have not seen the owner's, so to say, and date theirs as far back as can be.
	no := eve.define("c", Def{In: true, Shapes: []string{"new"}})
	late := bob.define("c", Def{In: true, Shapes: []string{"new"}, Own: true})
	if late.Clock > mine.Clock {
		t.Fatal("the forged definition is not dated before")
	}
	back := ann.sync(bob, eve).define("c", Def{In: true, Shapes: []string{"old", "new"}})
	docs = append(docs, ann.op("c", "3", "new"))
	s := b.judge(t)
	want(t, s, OK, docs...)
	want(t, s, OK, mine, back)
	want(t, s, NotInRole, no)
	want(t, s, Stale, late)
}

// Row 2: a writer dates an insert before another's document that rules protect.
func TestInsertDatedBefore(t *testing.T) {
	b := newBook()
	ann := b.owner()
	bob, eve := ann.join("bob", 1, ann.invite(Writer)), ann.join("eve", 1, ann.invite(Writer))
	meet(ann, bob, eve)
	ann.define("c", Def{In: true, Own: true})
	meet(ann, bob, eve)
	under := eve.tipsClock()
	bob.op("c", "0", "x")
	doc := bob.insert("c", "1", "bob's", 0)
	h := ann.sync(bob).horizon()
	theft := eve.insert("c", "1", "eve's", under+1)
	s := b.judge(t)
	if theft.Clock > doc.Clock {
		t.Fatal("the theft is not dated before")
	}
	want(t, s, OK, doc, h)
	want(t, s, Exists, theft)
	if p := s.Places[theft.Hash]; p != h.T+1 {
		t.Errorf("the theft stands at %d, want after %d", p, h.T)
	}
	// Without the horizon it works: what remains possible.
	s = Judge(b.genesis, filter(b.all, func(r *Record) bool { return r != h }))
	want(t, s, OK, theft)
	want(t, s, Exists, doc)
}

func (a *author) tipsClock() int { _, _, c := a.tips(); return c }

// Row 3: forged joins with ground hashes by an invite of many uses.
func TestForgedJoinsVoidNobody(t *testing.T) {
	b := newBook()
	b.hash = func(n int) Hash { return Hash(rune('m' + n)) }
	ann := b.owner()
	v := ann.invite(Writer)
	bob := ann.join("bob", 1, v)
	doc := bob.op("c", "1", "x")
	b.hash = func(n int) Hash { return Hash([]byte{byte(n)}) }
	for i := range 5 {
		ann.join("eve", i, v)
	}
	end := ann.sync(bob).close(v)
	more := ann.join("eve", 9, v)
	s := b.judge(t)
	want(t, s, OK, bob.last, doc, end)
	want(t, s, Waiting, more.last)
	wantRole(t, s, "bob", Writer)
}

// Row 4: a member makes void its own join, by a second one in its log, by a fork, or by
// leaving on a fork.
func TestOwnJoinIsNotUnmade(t *testing.T) {
	b := newBook()
	ann := b.owner()
	v := ann.invite(Writer)
	eve := ann.join("eve", 1, v)
	doc := eve.op("c", "1", "x")
	again := &author{book: b, id: "eve", dev: "eve.1", log: eve.log, held: map[Hash]bool{}}
	again.sync(ann).control(Record{Kind: Join, Grant: v.Hash, Control: []Hash{v.Hash}})
	h := ann.sync(eve).horizon()
	again.control(Record{Kind: Transfer})
	no := again.invite(Writer)
	late := again.op("c", "2", "x")
	s := b.judge(t)
	want(t, s, Cut, no)
	want(t, s, OK, eve.last, doc, h)
	want(t, s, Cut, late)
}

// Rows 5 and 6: joins by an expired, used up or revoked invite, dated however.
func TestJoinsByAClosedInvite(t *testing.T) {
	b := newBook()
	ann := b.owner()
	v := ann.invite(Writer)
	bob := ann.join("bob", 1, v)
	end := ann.sync(bob).close(v)
	var joins []*Record
	for i := range 20 {
		j := b.device("eve", i)
		j.held[v.Hash] = true
		r := j.control(Record{Kind: Join, Grant: v.Hash, Clock: v.Clock + 1})
		joins = append(joins, r, j.op("c", "1", "x"))
	}
	s := b.judge(t)
	want(t, s, OK, end, bob.last)
	for i := 0; i < len(joins); i += 2 {
		want(t, s, Waiting, joins[i])
		want(t, s, Nobody, joins[i+1])
	}
	ann.control(Record{Kind: Admit, Joins: []Hash{joins[0].Hash}})
	s = b.judge(t)
	want(t, s, OK, joins[0], joins[1])
	want(t, s, Waiting, joins[2])
}

// Row 7: heads that somebody made up keep only their own record out.
func TestUselessHeads(t *testing.T) {
	b := newBook()
	ann := b.owner()
	v := ann.invite(Writer)
	end := ann.close(v)
	for i := range 48 {
		ann.sync(ann.join("eve", i, v)) // they wait
	}
	w := ann.invite(Writer)
	bob := ann.join("bob", 1, w)
	if len(bob.last.Control) < 48 {
		t.Fatal("the heads are not there")
	}
	lie := ann.join("eve", 50, w)
	lie.control(Record{Kind: Device, Subject: "eve.51", Control: []Hash{"made up"}})
	s := b.judge(t)
	want(t, s, OK, end, bob.last)
	want(t, s, Apart, lie.last)
}

// Row 8, and of 3: joins and announcements by members are judged each by itself. What the
// model says of n of them does not depend on the others.
func TestRecordsOfOneDoNotTouchOthers(t *testing.T) {
	b := newBook()
	ann := b.owner()
	v := ann.invite(Writer)
	bob, eve := ann.join("bob", 1, v), ann.join("eve", 1, v)
	bob.op("c", "1", "x")
	before := b.judge(t)
	for i := range 30 {
		eve.add(i+2, false).op("d", "1", "y")
	}
	after := b.judge(t)
	for h, v := range before.Verdicts {
		if after.Verdicts[h] != v || after.Places[h] != before.Places[h] {
			t.Errorf("%s: %s, then %s", h, v, after.Verdicts[h])
		}
	}
}

// Who removed somebody is removed itself: the removal stands if its remover had seen it.
func TestRemovalOfARemover(t *testing.T) {
	for _, seen := range []bool{true, false} {
		b := newBook()
		ann := b.owner()
		bob := ann.promoted(Admin, "bob")[0]
		cid := ann.join("cid", 1, ann.invite(Writer))
		meet(ann, bob, cid)
		gone := bob.remove("cid")
		doc := cid.op("c", "1", "x")
		if seen {
			ann.sync(bob)
		}
		ann.remove("bob")
		s := b.judge(t)
		wantRole(t, s, "bob", 0)
		if seen {
			want(t, s, OK, gone)
			want(t, s, Cut, doc)
			wantRole(t, s, "cid", 0)
		} else {
			want(t, s, Cut, gone)
			want(t, s, OK, doc)
			wantRole(t, s, "cid", Writer)
		}
	}
}

// Two owners remove each other: the senior remains, whichever was first.
func TestOwnersRemoveEachOther(t *testing.T) {
	b := newBook()
	ann := b.owner()
	os := ann.promoted(Owner, "bob", "cid")
	bob, cid := os[0], os[1]
	second := cid.remove("bob")
	bob.op("c", "1", "x")
	first := bob.remove("cid")
	cid.remove("ann")
	s := b.judge(t)
	want(t, s, OK, first, bob.own)
	want(t, s, Cut, second)
	wantRole(t, s, "ann", Owner)
	wantRole(t, s, "bob", Owner)
	wantRole(t, s, "cid", 0)
	// An owner that is the junior cannot remove its senior, though nobody cuts it.
	s = Judge(b.genesis, filter(b.all, func(r *Record) bool { return r != first }))
	want(t, s, OK, second, bob.own)
	wantRole(t, s, "bob", Owner)
}

// A transfer ends its author's log on all branches, and nothing of what it did before.
func TestTransfer(t *testing.T) {
	b := newBook()
	ann := b.owner()
	bob := ann.join("bob", 1, ann.invite(Writer))
	phone := ann.sync(bob).add(2, false)
	no := bob.invite(Writer)
	stale := *ann
	stale.held = map[Hash]bool{}
	stale.sync(ann)
	give := ann.control(Record{Kind: Transfer, Subject: "bob", Joins: ann.logs("bob")})
	after := ann.invite(Writer)
	data := ann.op("c", "1", "x")
	fork := stale.invite(Admin)
	worse := stale.role("eve", Owner)
	old := phone.op("c", "2", "x")
	bob.sync(ann)
	ok := bob.invite(Writer)
	s := b.judge(t)
	want(t, s, OK, give, ok)
	want(t, s, Before, no)
	want(t, s, Cut, after, data, fork, worse)
	want(t, s, Cut, old) // the junior device has lost its rights, too: it wrote what bob had not seen
	wantRole(t, s, "bob", Owner)
	wantRole(t, s, "ann", 0)
	// What the old one writes under old heads is cut, too.
	stale.own = nil
	hidden := stale.op("c", "3", "x")
	want(t, b.judge(t), Cut, hidden)
}

// A junior device of the owner gives away its own rights, not those of the first.
func TestTransferByAJuniorDevice(t *testing.T) {
	b := newBook()
	ann := b.owner()
	eve := ann.join("eve", 1, ann.invite(Writer))
	phone := ann.sync(eve).add(2, false)
	give := phone.control(Record{Kind: Transfer, Subject: "eve", Joins: phone.logs("eve")})
	eve.sync(phone).remove("ann")
	doc := ann.op("c", "1", "x")
	s := b.judge(t)
	want(t, s, OK, give, doc)
	wantRole(t, s, "ann", Owner)
	ann.sync(eve).remove("eve")
	wantRole(t, b.judge(t), "eve", 0)
}

func (b *book) recover(id string, n int, key, next string, seen *author) *author {
	a := b.device(id, n).sync(seen)
	a.control(Record{Kind: Recover, Key: key, Commit: next})
	return a
}

// The recovery key makes a new owner, senior to all, once for each commitment.
func TestRecover(t *testing.T) {
	b := newBook()
	ann := b.owner()
	bob := ann.promoted(Owner, "bob")[0]
	thief := ann.invite(Writer)
	neu := b.recover("ann", 7, "key1", "key2", bob)
	use := neu.last
	evil := ann.remove("bob")
	no := b.recover("eve", 1, "key9", "key2", bob)
	out := neu.remove("bob")
	s := b.judge(t)
	want(t, s, OK, use, out)
	want(t, s, Cut, thief, evil)
	want(t, s, Nobody, no.last)
	wantRole(t, s, "ann", Owner)
	wantRole(t, s, "bob", 0)
	// The next commitment, and not the first again: who has seen its use is nobody.
	again := b.recover("eve", 2, "key1", "key3", neu)
	two := b.recover("dan", 1, "key2", "key3", neu)
	s = b.judge(t)
	want(t, s, Nobody, again.last)
	want(t, s, OK, two.last)
	wantRole(t, s, "dan", Owner)
	wantRole(t, s, "ann", 0)
}

// An identity that was replaced by a recovery comes back by the next one, and one that
// recovers twice is not cut off by its own first recovery.
func TestRecoverAgain(t *testing.T) {
	b := newBook()
	ann := b.owner()
	two := b.recover("ann", 2, "key1", "key2", ann)
	bob := b.recover("bob", 1, "key2", "key3", two)
	three := b.recover("ann", 3, "key3", "key4", bob)
	four := b.recover("ann", 4, "key4", "", three)
	act := four.invite(Writer)
	lost := []*Record{two.sync(four).invite(Writer), bob.sync(four).invite(Writer), three.sync(four).invite(Writer)}
	s := b.judge(t)
	want(t, s, OK, two.all[0], two.all[1], four.all[4], act)
	want(t, s, Cut, lost...)
	wantRole(t, s, "ann", Owner)
	wantRole(t, s, "bob", 0)
}

// Two uses of one commitment stop control operations; the data goes on.
func TestRecoverTwice(t *testing.T) {
	b := newBook()
	ann := b.owner()
	bob := ann.join("bob", 1, ann.invite(Writer))
	meet(ann, bob)
	def := ann.define("c", Def{In: true})
	one := b.recover("ann", 7, "key1", "key2", ann)
	late := ann.invite(Writer)
	lateDef := ann.define("c", Def{In: true, Shapes: []string{"z"}})
	cp := ann.control(Record{Kind: Checkpoint})
	used := one.last
	act := one.invite(Writer)
	bob.sync(one)
	two := b.recover("eve", 1, "key1", "key2", bob)
	want(t, b.judge(t), Nobody, two.last) // it had seen the other
	two.last.Control = []Hash{bob.last.Hash}
	doc := bob.op("c", "1", "x")
	s := b.judge(t)
	want(t, s, Frozen, used, two.last, act, late, lateDef, cp)
	want(t, s, OK, doc, def)
	wantRole(t, s, "ann", Owner)
	leave := bob.control(Record{Kind: Transfer})
	gone := bob.op("c", "2", "x")
	s = b.judge(t)
	want(t, s, OK, leave, doc)
	want(t, s, Cut, gone)
}

// Both branches of a forked log count, and none reaches behind a cut.
func TestForks(t *testing.T) {
	b := newBook()
	ann := b.owner()
	os := ann.promoted(Owner, "bob")
	bob := os[0]
	copied := *bob
	copied.held = map[Hash]bool{}
	copied.sync(bob)
	v := bob.invite(Writer)
	cid := bob.join("cid", 1, v)
	doc := cid.op("c", "1", "x")
	w := copied.invite(Reader)
	data, other := bob.op("c", "2", "x"), copied.op("c", "3", "x")
	s := b.judge(t)
	want(t, s, OK, v, w, cid.last, doc, data, other)
	ann.sync(cid, bob).remove("bob")
	s = b.judge(t)
	want(t, s, OK, v, cid.last, doc, data)
	want(t, s, Cut, w, other)
	// Of definitions on two branches the hash decides, and that harms nobody but the author.
	c2 := newBook()
	ann = c2.owner()
	copied = *ann
	copied.held = map[Hash]bool{}
	copied.sync(ann)
	x, y := ann.define("c", Def{In: true, Shapes: []string{"x"}}), copied.define("c", Def{In: true, Shapes: []string{"y"}})
	s = c2.judge(t)
	want(t, s, OK, x)
	want(t, s, Stale, y)
}

// A removal does not wait for data that its author named: no floor and no later cut wakes
// it. What it leaves open of a log waits, and is void once that is known.
func TestNothingWakesARemoval(t *testing.T) {
	b := newBook()
	ann := b.owner()
	bob := ann.promoted(Admin, "bob")[0]
	cid := ann.join("cid", 1, ann.invite(Writer))
	meet(ann, bob, cid)
	one := cid.op("c", "1", "x")
	two := cid.op("c", "2", "x")
	bob.sync(cid)
	gone := bob.remove("cid")
	three := cid.op("c", "3", "x")
	s := b.judge(t)
	want(t, s, OK, one, two, gone)
	want(t, s, Cut, three)
	without := Judge(b.genesis, filter(b.all, func(r *Record) bool { return r != two && r != three }))
	want(t, without, OK, gone)
	want(t, without, Unknown, one)
	// An invented control head keeps the removal out for ever, a late checkpoint or not.
	lie := bob.control(Record{Kind: Remove, Subject: "cid", Control: []Hash{"made up"}})
	lie.Data = append(lie.Data, Head{"d/cid.1", 9, "made up"})
	ann.sync(cid)
	four := cid.op("c", "4", "x")
	c := ann.checkpoint()
	s = b.judge(t)
	want(t, s, Apart, lie)
	want(t, s, OK, c)
	want(t, s, Settled, one, two, three)
	want(t, s, Cut, four)
}

// What a checkpoint has seen may be gone: the rest is judged as where it is not.
func TestPrunedHistory(t *testing.T) {
	b := newBook()
	ann := b.owner()
	bob := ann.promoted(Admin, "bob")[0]
	cid := ann.join("cid", 1, ann.invite(Writer))
	meet(ann, bob, cid)
	away := *cid
	away.held = map[Hash]bool{}
	away.sync(cid)
	ann.define("c", Def{In: true, Shapes: []string{"x"}})
	late := bob.define("c", Def{In: true, Shapes: []string{"y"}})
	ann.sync(cid.sync(ann)).sync(cid)
	cid.op("c", "1", "x")
	ann.sync(cid).horizon()
	c := ann.checkpoint()
	next := cid.sync(ann).op("c", "2", "y")
	fine := cid.op("c", "3", "x")
	def := bob.sync(cid).define("c", Def{In: true, Shapes: []string{"x", "y"}})
	fork := away.op("c", "4", "x")
	ann.sync(bob)
	then := ann.op("c", "5", "y")
	s := b.judge(t)
	want(t, s, OK, c, fine, def, then)
	want(t, s, BadShape, next)
	want(t, s, Stale, late)
	want(t, s, Floor, fork)
	pruned := Judge(b.genesis, filter(b.all, func(r *Record) bool { return s.Verdicts[r.Hash] != Settled }))
	if d := diff(pruned, s, func(Hash) bool { return true }); d != "" {
		t.Errorf("pruned, then whole: %s", d)
	}
	if len(pruned.Verdicts) >= len(s.Verdicts) {
		t.Error("nothing was pruned")
	}
}

// A reader writes; a relay, too; and both may leave.
func TestReaderWrites(t *testing.T) {
	b := newBook()
	ann := b.owner()
	rob, rel := ann.join("rob", 1, ann.invite(Reader)), ann.join("rel", 1, ann.invite(Relay))
	no := []*Record{
		rob.op("c", "1", "x"), rel.op("c", "2", "x"), rob.define("c", Def{In: true}), rel.horizon(),
		rob.invite(Writer), rel.remove("rob"), rob.control(Record{Kind: Rotate}), rob.control(Record{Kind: Checkpoint}),
	}
	bye := rob.control(Record{Kind: Transfer})
	s := b.judge(t)
	want(t, s, NotInRole, no...)
	want(t, s, OK, bye)
	wantRole(t, s, "rob", 0)
	wantRole(t, s, "rel", Relay)
	// Made a writer, what it wrote before stays void.
	ann.sync(rel).role("rel", Writer)
	ok := rel.sync(ann).op("c", "3", "x")
	s = b.judge(t)
	want(t, s, OK, ok)
	want(t, s, Before, no[1])
}

// The table, for those who are not owner.
func TestTable(t *testing.T) {
	b := newBook()
	ann := b.owner()
	as := ann.promoted(Admin, "bob", "dan")
	bob := as[0]
	cid := ann.join("cid", 1, ann.invite(Writer))
	meet(ann, bob, cid)
	no := []*Record{
		bob.role("bob", Owner), bob.role("cid", Admin), bob.role("cid", Owner), bob.invite(Admin), bob.invite(Owner), bob.invite(0), bob.invite(Relay + 1), bob.role("cid", Relay+1), bob.role("cid", 0),
		bob.control(Record{Kind: Transfer, Subject: "cid", Joins: bob.logs("cid")}), bob.control(Record{Kind: Checkpoint}),
		cid.invite(Relay), cid.role("ann", Relay), cid.remove("ann"), cid.remove("bob"), cid.remove("cid"), cid.close(ann.last), cid.control(Record{Kind: Admit}), cid.control(Record{Kind: Rotate}),
		cid.horizon(), cid.define("c", Def{In: true}), cid.control(Record{Kind: Transfer, Subject: "ann"}), cid.data(Record{Kind: Invite}),
	}
	ok := []*Record{bob.remove("ann"), as[1].remove("bob"), bob.role("ann", Writer), as[1].role("bob", Reader)} // which reach nobody
	s := b.judge(t)
	want(t, s, NotInRole, no...)
	want(t, s, OK, ok...)
	for id, r := range map[string]Role{"ann": Owner, "bob": Admin, "dan": Admin, "cid": Writer} {
		wantRole(t, s, id, r)
	}
	ann.sync(bob)
	ok = []*Record{bob.invite(Writer), bob.invite(Relay), bob.define("c", Def{In: true}), bob.horizon(), bob.control(Record{Kind: Rotate})}
	bob.remove("dan") // who was made admin later
	s = b.judge(t)
	want(t, s, OK, ok...)
	wantRole(t, s, "dan", 0)
	bad := ann.control(Record{Kind: Checkpoint, T: 1000})
	same := ann.control(Record{Kind: Checkpoint, Clock: 2000, T: 2000})
	want(t, b.judge(t), BadTime, bad, same)
}

// Who was removed is barred until somebody with the remover's role names it.
func TestRemovalAndReinvite(t *testing.T) {
	b := newBook()
	ann := b.owner()
	bob := ann.promoted(Admin, "bob")[0]
	open, eve := ann.invite(Writer), ann.join("eve", 1, ann.invite(Writer))
	meet(ann, bob, eve)
	ann.remove("eve")
	meet(ann, bob)
	old := ann.join("eve", 2, open)
	again := bob.join("eve", 3, bob.invite(Writer))
	friend := bob.join("eve", 4, bob.control(Record{Kind: Invite, Role: Writer, Subject: "eve"}))
	plain := ann.join("eve", 7, ann.invite(Writer))
	want(t, b.judge(t), Cut, plain.last)
	named := ann.control(Record{Kind: Invite, Role: Reader, Subject: "eve"})
	back := ann.join("eve", 5, named)
	other := ann.join("dan", 1, named)
	s := b.judge(t)
	want(t, s, Waiting, old.last)
	want(t, s, Cut, again.last, friend.last)
	want(t, s, OK, back.last)
	want(t, s, Named, other.last)
	wantRole(t, s, "eve", Reader)
	tab := back.add(6, false)
	want(t, b.judge(t), OK, tab.last)
}

// A close by an equal, or by a junior of the maker, ends the invite and removes nobody
// that any other lists.
func TestClosesByEquals(t *testing.T) {
	b := newBook()
	ann := b.owner()
	as := ann.promoted(Admin, "bob", "dan")
	bob, dan := as[0], as[1]
	v := bob.invite(Writer)
	meet(ann, bob, dan)
	x, y := bob.join("x", 1, v), bob.join("y", 1, v)
	one := dan.sync(x).close(v)
	two := bob.sync(y).close(v)
	z := bob.join("z", 1, v)
	s := b.judge(t)
	want(t, s, OK, one, two, x.last, y.last)
	want(t, s, Waiting, z.last)
	w := ann.invite(Writer)
	u := ann.join("u", 1, w)
	empty := dan.sync(ann).control(Record{Kind: Close, Grant: w.Hash})
	s = b.judge(t)
	want(t, s, OK, empty)
	want(t, s, Waiting, u.last)
	ann.sync(u).control(Record{Kind: Admit, Joins: []Hash{u.last.Hash}})
	want(t, b.judge(t), OK, u.last)
}

// What a senior horizon has seen no junior changes: by a removal, a close, a definition or
// a horizon that claims to have seen less.
func TestJuniorsDoNotReachBehindAHorizon(t *testing.T) {
	b := newBook()
	ann := b.owner()
	bob := ann.promoted(Admin, "bob")[0]
	v := ann.invite(Writer)
	cid := ann.join("cid", 1, v)
	bob.sync(ann)
	doc := cid.op("c", "1", "x")
	h := ann.sync(cid).horizon()
	bad := []*Record{bob.remove("cid"), bob.control(Record{Kind: Close, Grant: v.Hash}), bob.define("c", Def{In: true, Shapes: []string{"no"}}), bob.data(Record{Kind: Horizon, Clock: 50})}
	cid.sync(ann)
	after := cid.op("c", "2", "no")
	s := b.judge(t)
	want(t, s, OK, bad...)
	want(t, s, OK, doc, h)
	want(t, s, Waiting, cid.last)
	want(t, s, Nobody, after)
	if p := s.Places[doc.Hash]; p != doc.Clock {
		t.Errorf("the document moved to %d", p)
	}
	// An owner of the same identity reaches back, a senior too.
	ann2 := Judge(b.genesis, append(slices.Clone(b.all), func() *Record {
		a := b.device("ann", 1)
		a.last, a.held = b.all[0], map[Hash]bool{b.all[0].Hash: true}
		return a.control(Record{Kind: Remove, Subject: "cid", Joins: []Hash{cid.last.Hash}})
	}()))
	want(t, ann2, Cut, doc)
}

// A horizon binds equals and juniors, and only what it has not seen.
func TestHorizonBinds(t *testing.T) {
	b := newBook()
	ann := b.owner()
	os := ann.promoted(Owner, "bob")
	bob := os[0]
	for range 3 {
		bob.op("c", "1", "x")
	}
	h := bob.horizon()
	senior := ann.op("c", "2", "x")
	s := b.judge(t)
	if p := s.Places[senior.Hash]; p != senior.Clock {
		t.Error("a junior's horizon moved a senior's record")
	}
	tab := ann.add(2, false)
	g := ann.sync(bob).horizon()
	own := tab.op("c", "3", "x")
	s = b.judge(t)
	want(t, s, OK, h, g)
	if p := s.Places[own.Hash]; p != g.T+1 {
		t.Errorf("a record of the same identity stands at %d, want after %d", p, g.T)
	}
	early := ann.data(Record{Kind: Horizon, T: 1})
	wild := bob.data(Record{Kind: Horizon, T: 900})
	none := bob.data(Record{Kind: Horizon})
	none.Data = append(none.Data, Head{"d/x", 1, "made up"})
	s = b.judge(t)
	want(t, s, BadTime, early, wild)
	want(t, s, Unknown, none)
	b.genesis.Late = 5
	want(t, Judge(b.genesis, b.all), BadTime, h, g)
}

// Cutting off its author takes a horizon back, unless the cut has seen it.
func TestHorizonOfARemovedAdmin(t *testing.T) {
	b := newBook()
	ann := b.owner()
	bob := ann.promoted(Admin, "bob")[0]
	cid := ann.join("cid", 1, ann.invite(Writer))
	meet(ann, bob, cid)
	for range 5 {
		bob.op("c", "0", "x")
	}
	h := bob.horizon()
	doc := cid.data(Record{Kind: Op, Name: "c", Doc: "1", Clock: h.T - 1})
	s := b.judge(t)
	if s.Places[doc.Hash] != h.T+1 {
		t.Error("the horizon does not bind")
	}
	ann.remove("bob")
	s = b.judge(t)
	want(t, s, Cut, h)
	if s.Places[doc.Hash] != doc.Clock {
		t.Error("the horizon of a removed admin binds")
	}
}

// An operation is judged by the last definition that has not seen it.
func TestDefinitionsReach(t *testing.T) {
	b := newBook()
	b.genesis.Closed = true
	ann := b.owner()
	bob := ann.join("bob", 1, ann.invite(Writer))
	none := ann.op("c", "0", "x")
	ann.define("c", Def{In: true, Shapes: []string{"x"}, May: Writer})
	meet(ann, bob)
	old := bob.op("c", "1", "x")
	begin := ann.sync(bob).define("c", Def{In: true, Shapes: []string{"x", "y"}}) // a migration
	late := bob.op("c", "2", "x")
	end := ann.define("c", Def{In: true, Shapes: []string{"y"}, May: Writer})
	stray := bob.op("c", "3", "x")
	meet(ann, bob)
	right := bob.op("c", "4", "y")
	drop := bob.define("c", Def{})
	gone := bob.op("c", "5", "y")
	s := b.judge(t)
	want(t, s, Undefined, none, gone)
	want(t, s, OK, old, begin, end, right, drop)
	want(t, s, BadShape, late, stray)
	only := ann.sync(bob).define("c", Def{In: true, May: Owner})
	as := ann.promoted(Admin, "dan")
	no := as[0].define("c", Def{In: true})
	want(t, b.judge(t), OK, only)
	want(t, b.judge(t), NotInRole, no)
}

// A horizon that has seen one of two definitions decides between them, if its author is
// not junior to that of the other.
func TestHorizonDecidesBetweenDefinitions(t *testing.T) {
	b := newBook()
	ann := b.owner()
	as := ann.promoted(Admin, "bob", "dan", "zoe")
	bob, dan, zoe := as[0], as[1], as[2]
	d := dan.define("c", Def{In: true})
	x := bob.define("c", Def{In: true})
	s := b.judge(t)
	want(t, s, OK, x)
	want(t, s, Stale, d)
	zoe.sync(dan).horizon() // a junior's decides nothing
	ann.horizon()           // nor one that has seen neither
	want(t, b.judge(t), OK, x)
	want(t, b.judge(t), Stale, d)
	ann.sync(dan).horizon()
	s = b.judge(t)
	want(t, s, OK, d)
	want(t, s, Stale, x)
}

// Devices of one identity: the first is senior; a delegated one is below all others, and
// writes and adds devices only.
func TestDevices(t *testing.T) {
	b := newBook()
	ann := b.owner()
	hub := ann.add(2, true)
	tab := ann.add(3, false)
	own := hub.sync(tab).add(4, false)
	meet(ann, hub, tab, own)
	ok := []*Record{hub.op("c", "1", "x"), own.last, own.invite(Writer), tab.invite(Writer)}
	no := []*Record{hub.invite(Writer), hub.remove("ann.4"), hub.role("eve", Owner), hub.control(Record{Kind: Transfer, Subject: "eve"}), hub.define("c", Def{In: true}), hub.horizon(), hub.control(Record{Kind: Checkpoint})}
	s := b.judge(t)
	want(t, s, OK, ok...)
	want(t, s, NotInRole, no...)
	// The device that the hub added is junior to the tablet, which was added after the hub.
	own.remove("ann.3")
	cut := tab.remove("ann.4")
	more := own.op("c", "2", "x")
	mine := tab.op("c", "3", "x")
	s = b.judge(t)
	want(t, s, OK, cut, mine)
	want(t, s, Cut, more)
	hub.sync(tab)
	for i, a := range []*author{hub, tab} { // by the tablet, it comes back
		q := a.control(Record{Kind: Device, Subject: "ann.4"})
		back := b.device("ann", 4).sync(a)
		back.log += a.dev
		r := back.control(Record{Kind: Start, Grant: q.Hash})
		want(t, b.judge(t), []Verdict{Cut, OK}[i], r)
	}
	// The identity revokes the hub without a device; a removed device is not added again by it.
	r := b.device("ann", 0).sync(hub, tab, own)
	r.log = "r/hub"
	rev := r.control(Record{Kind: Revoke, Subject: "ann.2"})
	lost := hub.op("c", "4", "x")
	s = b.judge(t)
	want(t, s, OK, rev)
	want(t, s, Cut, lost)
	e := b.device("eve", 0).sync(ann)
	e.log = "r/eve"
	e.control(Record{Kind: Revoke, Subject: "ann.1"})
	wantRole(t, b.judge(t), "ann", Owner)
}

// A writer removes its own junior device, and nobody else's.
func TestWriterRemovesItsDevice(t *testing.T) {
	b := newBook()
	ann := b.owner()
	v := ann.invite(Writer)
	eve, bob := ann.join("eve", 1, v), ann.join("bob", 1, v)
	phone := eve.add(2, false)
	meet(ann, eve, bob, phone)
	first := phone.remove("eve.1")
	gone := eve.remove("eve.2")
	no := eve.remove("bob.1")
	lost := phone.op("c", "1", "x")
	x := ann.join("x", 1, v)
	docs := []*Record{eve.op("c", "1", "x"), bob.op("c", "2", "x")}
	s := b.judge(t)
	want(t, s, OK, gone, docs[0], docs[1], x.last)
	want(t, s, Cut, first, lost)
	want(t, s, NotInRole, no)
}

// A writer takes back a device that it has added and that has not begun.
func TestWriterRemovesAnAddedDevice(t *testing.T) {
	b := newBook()
	ann := b.owner()
	eve := ann.join("eve", 1, ann.invite(Writer))
	q := eve.control(Record{Kind: Device, Subject: "eve.2"})
	gone := eve.control(Record{Kind: Remove, Subject: "eve.2"})
	want(t, b.judge(t), OK, gone)
	late := b.device("eve", 2).sync(ann)
	late.held[q.Hash] = true
	late.sync(eve)
	late.thin = func(r *Record) bool { return r.Hash != gone.Hash }
	start := late.control(Record{Kind: Start, Grant: q.Hash})
	s := b.judge(t)
	want(t, s, OK, q, gone)
	want(t, s, Cut, start)
}

// A demoted admin: what was seen counts by the old role, all else by the new.
func TestDemotion(t *testing.T) {
	b := newBook()
	ann := b.owner()
	bob := ann.promoted(Admin, "bob")[0]
	v := bob.invite(Writer)
	ann.sync(bob).role("bob", Writer)
	w, doc := bob.invite(Writer), bob.op("c", "1", "x")
	s := b.judge(t)
	want(t, s, OK, v, doc)
	want(t, s, Cut, w)
	wantRole(t, s, "bob", Writer)
}

// Keys: the removed, with every URL it knew and a relay's disk, reads nothing written
// after its removal was seen; also beside a rotation that did not know of it.
func TestRemovedReadsNothing(t *testing.T) {
	b := newBook()
	ann := b.owner()
	as := ann.promoted(Admin, "bob")
	bob := as[0]
	v := ann.invite(Writer)
	eve, cid := ann.join("eve", 1, v), ann.join("cid", 1, v)
	meet(ann, bob, eve, cid)
	before := cid.op("c", "1", "x")
	ann.remove("eve")
	_, devices := bob.standing("")
	u := bob.invite(Writer)
	bob.control(Record{Kind: Rotate, Devices: devices, Invites: []Hash{u.Hash}}) // knows eve
	meet(ann, bob, cid)
	after := cid.op("c", "2", "x")
	_, devices = ann.standing("")
	ann.control(Record{Kind: Rotate, Devices: devices})
	neu := ann.invite(Writer)
	last := cid.sync(ann).op("c", "3", "x")
	s := b.judge(t)
	of := func(url Hash, devices ...string) map[*Record]bool {
		return s.Knows(devices, []Hash{url, v.Hash, u.Hash})
	}
	evil := of("", "eve.1", "rel.1")
	if len(s.Epochs(before)) != 1 || len(s.Epochs(after)) != 2 || len(s.Epochs(last)) != 1 {
		t.Errorf("epochs %v, %v, %v", s.Epochs(before), s.Epochs(after), s.Epochs(last))
	}
	if !s.Reads(evil, before) || s.Reads(evil, after) || s.Reads(evil, last) {
		t.Error("what the removed reads is wrong")
	}
	for _, known := range []map[*Record]bool{of("", "cid.1"), of("", "ann.1"), of(neu.Hash)} {
		if !s.Reads(known, before) || !s.Reads(known, after) || !s.Reads(known, last) {
			t.Error("a member, or who has a new invite, cannot read")
		}
	}
	open := ann.invite(Reader)
	_, devices = ann.standing("")
	ann.control(Record{Kind: Rotate, Devices: devices, Invites: ann.open()})
	then := cid.sync(ann).op("c", "4", "x")
	s = b.judge(t)
	if !s.Reads(of(open.Hash), then) || s.Reads(of("", "eve.1"), then) {
		t.Error("a rotation is not sealed to the open invites, or to those that are closed")
	}
	if s.Reads(s.Knows([]string{"rel.1"}, nil), before) {
		t.Error("a relay reads")
	}
}

// What a data record has seen of control logs is what its own control heads have seen, not
// what those of the record before it had: that one may be gone.
func TestSeen(t *testing.T) {
	b := newBook()
	ann := b.owner()
	bob := ann.join("bob", 1, ann.invite(Writer))
	first := bob.op("c", "1", "x")
	v := ann.invite(Writer)
	second := bob.sync(ann).op("c", "2", "x")
	third := bob.op("c", "3", "x")
	third.Control = []Hash{bob.last.Hash}
	d := bob.define("c", Def{In: true})
	lie := bob.define("c", Def{In: true})
	lie.Data = append(slices.Clone(lie.Data), Head{"d/x", 3, "made up"})
	g := b.judge(t)
	for _, c := range []struct {
		r, q *Record
		seen bool
	}{{second, v, true}, {third, v, false}, {third, second, true}, {third, bob.last, true}, {d, first, true}, {d, v, true}, {first, v, false}, {v, first, false}} {
		if g.has(c.r, c.q) != c.seen {
			t.Errorf("%s has seen %s: %v", c.r.Hash, c.q.Hash, !c.seen)
		}
	}
	// Through control records that it has seen, a control record has seen data; a data record has not.
	r := ann.sync(bob).invite(Writer)
	o := ann.join("eve", 1, r).op("c", "4", "x")
	g = b.judge(t)
	if !g.has(r, first) || g.has(o, first) || !g.has(o, r) {
		t.Error("what was seen through a control record is wrong")
	}
}

// A device that a delegated one added is a full one, after its identity's others; whom it
// makes an owner is its junior.
func TestDeviceAddedByADelegatedOne(t *testing.T) {
	b := newBook()
	ann := b.owner()
	bob := ann.join("bob", 1, ann.invite(Writer))
	hub := ann.add(2, true)
	phone := hub.sync(bob).add(3, false)
	phone.sync(bob, hub)
	grant := phone.role("bob", Owner)
	bob.sync(phone)
	back := bob.remove("ann.3")
	late := phone.invite(Writer)
	gone := phone.remove("bob")
	after := bob.invite(Writer)
	s := b.judge(t)
	want(t, s, OK, grant, late, gone)
	want(t, s, Cut, back, after) // what its junior says of the phone comes after what the phone says
	wantRole(t, s, "ann", Owner)
}

// A thread that a delegated device opened is its identity's: nobody decides until a full
// device comes, and that one is senior to it. It removes the delegated device, whose later
// records, and whom it lets in by them, are nobody's.
func TestDelegatedGenesis(t *testing.T) {
	b := newBook()
	b.genesis.Delegated = true
	hub := b.owner()
	no := []*Record{hub.invite(Writer), hub.define("c", Def{In: true}), hub.control(Record{Kind: Checkpoint})}
	op := hub.op("c", "1", "x")
	ann := hub.add(2, false)
	bob := ann.join("bob", 1, ann.invite(Writer))
	ok := []*Record{op, ann.define("c", Def{In: true}), bob.op("c", "2", "x")}
	hub.sync(ann, bob)
	no = append(no, hub.remove("ann.2"), hub.remove("bob"))
	s := b.judge(t)
	want(t, s, OK, ok...)
	want(t, s, NotInRole, no...)
	cut := ann.sync(hub).remove("ann.1")
	late, pad := hub.op("c", "3", "x"), hub.add(3, false)
	gone := pad.remove("bob")
	s = b.judge(t)
	want(t, s, OK, cut)
	start := b.find(pad.last.Prev)
	want(t, s, Cut, late, b.find(start.Grant))
	want(t, s, Nobody, start, gone)
	wantRole(t, s, "bob", Writer)
	if s.full.top.first.Device != "ann.2" {
		t.Errorf("the first owner is by %s", s.full.top.first.Device)
	}
	keeps := ann.control(Record{Kind: Checkpoint})
	want(t, b.judge(t), OK, keeps)
}

// An owner that transfers a thread takes it from its delegated device too, though that one
// opened it; and a delegated device that leaves takes nobody with it.
func TestDelegatedDeviceStaysWithNothing(t *testing.T) {
	b := newBook()
	b.genesis.Delegated = true
	hub := b.owner()
	ann := hub.add(2, false)
	bob := ann.join("bob", 1, ann.invite(Writer))
	meet(hub, ann, bob)
	ann.control(Record{Kind: Transfer, Subject: "bob", Joins: ann.logs("bob")})
	late := hub.op("c", "1", "x")
	cut := bob.sync(ann).control(Record{Kind: Checkpoint})
	s := b.judge(t)
	want(t, s, Cut, late)
	want(t, s, OK, cut)
	wantRole(t, s, "bob", Owner)
	wantRole(t, s, "ann", 0)

	b = newBook()
	b.genesis.Delegated = true
	hub = b.owner()
	ann = hub.add(2, false)
	left := hub.sync(ann).control(Record{Kind: Transfer})
	mine := ann.op("c", "1", "x")
	s = b.judge(t)
	want(t, s, OK, left, mine)
	wantRole(t, s, "ann", Owner)
}

// A role of an identity makes no full device of a delegated one; and one that may add none
// adds none.
func TestRoleKeepsADeviceDelegated(t *testing.T) {
	b := newBook()
	ann := b.owner()
	bob := ann.join("bob", 1, ann.invite(Writer))
	hub := bob.add(2, true)
	q := bob.control(Record{Kind: Device, Subject: "bob.3", Delegated: true, Lone: true})
	lone := b.device("bob", 3).sync(bob)
	lone.control(Record{Kind: Start, Grant: q.Hash})
	meet(ann, bob, hub, lone)
	ann.role("bob", Owner)
	meet(ann, bob, hub, lone)
	ok := []*Record{bob.invite(Writer), hub.op("c", "1", "x"), lone.op("c", "2", "x"), hub.add(4, false).last}
	no := []*Record{hub.invite(Writer), lone.invite(Writer), lone.control(Record{Kind: Device, Subject: "bob.5"})}
	s := b.judge(t)
	want(t, s, OK, ok...)
	want(t, s, NotInRole, no...)
}

// Of devices that a delegated one let in on two branches, one that removes it does not make
// its senior nobody.
func TestForkOfADelegatedDevice(t *testing.T) {
	b := newBook()
	b.genesis.Delegated = true
	hub := b.owner()
	fork := *hub
	fork.held = map[Hash]bool{}
	fork.sync(hub)
	first := hub.add(2, false)
	second := fork.add(3, false)
	cut := second.remove("ann.1")
	mine := first.op("c", "1", "x")
	s := b.judge(t)
	want(t, s, OK, cut, mine, b.find(first.last.Grant))
	back := first.sync(second).remove("ann.3")
	late := second.op("c", "2", "x")
	s = b.judge(t)
	want(t, s, OK, back)
	want(t, s, Cut, late)
}

// What a writer wrote that it was not allowed to has no effect on the day it is made an
// admin by somebody who does not know of it.
func TestPromotionWakesNothing(t *testing.T) {
	b := newBook()
	ann := b.owner()
	v := ann.invite(Writer)
	bob, cid := ann.join("bob", 1, v), ann.join("cid", 1, v)
	meet(ann, bob, cid)
	gone, def, h := bob.remove("cid"), bob.define("c", Def{In: true}), bob.horizon()
	op := bob.op("c", "1", "x")
	ann.role("bob", Admin)
	ok := bob.sync(ann).invite(Writer)
	s := b.judge(t)
	want(t, s, OK, ok, op)
	wantRole(t, s, "cid", Writer)
	for _, r := range []*Record{gone, def, h} {
		if s.Verdicts[r.Hash] == OK {
			t.Errorf("%s counts", r.Kind)
		}
	}
}

// A close that a horizon has not seen, a senior's or not, ends nothing for what the horizon
// has seen; an admit by a junior gives no right there; and a junior's horizon that has not
// seen a close opens nothing.
func TestClosesAndHorizons(t *testing.T) {
	b := newBook()
	ann := b.owner()
	as := ann.promoted(Admin, "bob", "dan")
	bob, dan := as[0], as[1]
	v := ann.invite(Writer)
	meet(ann, bob, dan)
	cid := ann.join("cid", 1, v)
	doc := cid.op("c", "1", "x")
	bob.sync(cid).horizon()
	end := ann.control(Record{Kind: Close, Grant: v.Hash})
	more := cid.op("c", "2", "x")
	s := b.judge(t)
	want(t, s, OK, end, doc)
	want(t, s, Waiting, cid.last)
	want(t, s, Nobody, more)

	b = newBook()
	ann = b.owner()
	as = ann.promoted(Admin, "bob", "dan")
	bob, dan = as[0], as[1]
	v = ann.invite(Writer)
	meet(ann, bob, dan)
	cid = ann.join("cid", 1, v)
	doc = cid.op("c", "1", "x")
	ann.control(Record{Kind: Close, Grant: v.Hash})
	ann.sync(cid).horizon()
	want(t, b.judge(t), Nobody, doc)
	dan.sync(cid).horizon()
	dan.control(Record{Kind: Admit, Joins: []Hash{cid.last.Hash}})
	s = b.judge(t)
	want(t, s, OK, cid.last)
	want(t, s, Nobody, doc)
	ann.sync(dan).control(Record{Kind: Admit, Joins: []Hash{cid.last.Hash}})
	want(t, b.judge(t), OK, doc)
}

// Only the first owner settles what is there by a checkpoint.
func TestCheckpointOfAJuniorOwner(t *testing.T) {
	b := newBook()
	ann := b.owner()
	bob := ann.promoted(Owner, "bob")[0]
	doc := ann.op("c", "1", "x")
	ann.horizon()
	no := bob.sync(ann).checkpoint()
	want(t, b.judge(t), NotInRole, no)
	want(t, b.judge(t), OK, doc)
	ann.sync(bob).control(Record{Kind: Transfer, Subject: "bob", Joins: ann.logs("bob")})
	ok := bob.sync(ann).checkpoint()
	s := b.judge(t)
	want(t, s, OK, ok)
	want(t, s, Settled, doc)
}

// Only the device and identity that the genesis names open the thread.
func TestOpen(t *testing.T) {
	b := newBook()
	for _, a := range []*author{b.device("eve", 1), b.device("eve", 2), b.device("ann", 2)} {
		if a.dev == "eve.2" {
			a.dev = "ann.1"
		}
		a.control(Record{Kind: Open})
		want(t, b.judge(t), Nobody, a.last)
	}
	a := b.device("ann", 1)
	a.log = "c/other"
	a.control(Record{Kind: Join, Grant: "none"})
	want(t, b.judge(t), Nobody, a.last)
	ann := b.owner()
	want(t, b.judge(t), OK, ann.last)
	again := ann.control(Record{Kind: Open})
	odd := b.device("bob", 1).control(Record{Kind: Invite})
	want(t, b.judge(t), Apart, again, odd)
}

// A device record adds the device that it names, of its author's identity.
func TestStart(t *testing.T) {
	b := newBook()
	ann := b.owner()
	q := ann.control(Record{Kind: Device, Subject: "ann.2"})
	other, eve, early := b.device("ann", 9).sync(ann), b.device("eve", 1).sync(ann), b.device("ann", 2)
	eve.dev = "ann.2"
	for _, a := range []*author{other, eve, early} {
		a.control(Record{Kind: Start, Grant: q.Hash})
		want(t, b.judge(t), Nobody, a.last)
	}
	ann2 := b.device("ann", 2).sync(ann)
	ann2.log = "c/again"
	want(t, b.judge(t), Nobody, other.last)
	ok := ann2.control(Record{Kind: Start, Grant: q.Hash})
	want(t, b.judge(t), OK, ok)
}

// What definitions ask of operations; one that is no more asks nothing.
func TestRules(t *testing.T) {
	b := newBook()
	ann := b.owner()
	bob := ann.join("bob", 1, ann.invite(Writer))
	def := Def{In: true, Own: true, Shapes: []string{"x", "y"}}
	ann.define("c", def)
	first := ann.op("c", "1", "x")
	own := ann.op("c", "1", "y")
	shape := ann.op("c", "1", "z")
	theft := bob.sync(ann).op("c", "1", "x")
	def.In = false
	bob.sync(ann)
	ann.sync(bob).define("c", def)
	free, any := bob.sync(ann).op("c", "1", "x"), bob.op("c", "1", "z")
	again := bob.insert("c", "1", "x", 0)
	s := b.judge(t)
	want(t, s, OK, first, own, free, any)
	want(t, s, BadShape, shape)
	want(t, s, Denied, theft)
	want(t, s, Exists, again)
	if d := s.Docs["c/1"]; d != (Doc{"ann", "z"}) {
		t.Errorf("the document is %v", d)
	}
}

// A horizon binds the senior devices of its author's identity, and what it moved stays
// moved when a senior horizon has seen both.
func TestHorizonsStack(t *testing.T) {
	b := newBook()
	ann := b.owner()
	tab := ann.add(2, false)
	bob := ann.promoted(Admin, "bob")[0]
	cid := ann.join("cid", 1, ann.invite(Writer))
	meet(ann, tab, bob, cid)
	for range 5 {
		bob.op("c", "0", "x")
	}
	h := bob.horizon()
	late := cid.op("c", "1", "x")
	g := ann.sync(bob, cid).horizon()
	s := b.judge(t)
	if s.Places[late.Hash] != h.T+1 {
		t.Errorf("stands at %d, want after %d", s.Places[late.Hash], h.T)
	}
	k := tab.sync(ann).horizon()
	own := ann.op("c", "2", "x")
	if s = b.judge(t); s.Places[own.Hash] != k.T+1 {
		t.Errorf("stands at %d, want after %d", s.Places[own.Hash], k.T)
	}
	want(t, s, OK, h, g, k)
	// Not what a horizon of the identity has seen, nor what is as late as T or later.
	if s.Places[h.Hash] != h.Clock || s.Places[g.Hash] != g.Clock {
		t.Error("a horizon was moved")
	}
}

// A writer that leaves makes nothing undone, whatever its leave has seen.
func TestLeave(t *testing.T) {
	b := newBook()
	ann := b.owner()
	eve := ann.join("eve", 1, ann.invite(Writer))
	doc := eve.op("c", "1", "x")
	eve.thin = (*Record).control
	bye := eve.control(Record{Kind: Transfer})
	eve.thin = nil
	after := eve.op("c", "2", "x")
	s := b.judge(t)
	want(t, s, OK, doc, bye)
	want(t, s, Cut, after)
}

// A record at the position of a head that is not held is of another branch.
func TestUnsureOfAnotherBranch(t *testing.T) {
	b := newBook()
	ann := b.owner()
	eve := ann.join("eve", 1, ann.invite(Writer))
	one := eve.op("c", "1", "x")
	copied := *eve
	two := eve.op("c", "2", "x")
	fork := copied.op("c", "3", "x")
	ann.sync(eve).held[fork.Hash] = false
	r := ann.remove("eve")
	r.Data = append(r.Data, Head{"d/none", 9, "made up"})
	s := Judge(b.genesis, filter(b.all, func(r *Record) bool { return r != two }))
	want(t, s, Unknown, one)
	want(t, s, Cut, fork)
}

// What an identity revokes, after a horizon of another has seen it, stays; who was made
// senior afterwards writes where its clock says, though the horizon had not seen it join.
func TestWorldsKeepJoins(t *testing.T) {
	b := newBook()
	ann := b.owner()
	bob := ann.promoted(Admin, "bob")[0]
	cid := ann.join("cid", 1, ann.invite(Writer))
	meet(ann, bob, cid)
	doc := cid.op("c", "1", "x")
	for range 9 {
		bob.sync(cid).op("c", "0", "x")
	}
	h := bob.horizon()
	r := b.device("cid", 0).sync(ann)
	r.log = "r/cid"
	rev := r.control(Record{Kind: Revoke, Subject: "cid.1"})
	eve := ann.join("eve", 1, ann.invite(Writer))
	ann.sync(eve).role("eve", Owner)
	op := eve.sync(ann).op("c", "2", "x")
	s := b.judge(t)
	if op.Clock > h.T {
		t.Fatal("the operation is not dated before")
	}
	want(t, s, OK, doc, h, rev, op)
	if s.Places[op.Hash] != op.Clock {
		t.Error("a senior's operation was moved")
	}
	more := cid.op("c", "3", "x")
	want(t, b.judge(t), Cut, more)
}

// A definition reaches what horizons have settled that have seen it.
func TestHorizonThatHasSeenADefinition(t *testing.T) {
	b := newBook()
	ann := b.owner()
	cid := ann.join("cid", 1, ann.invite(Writer))
	ann.define("c", Def{In: true, Shapes: []string{"y"}})
	late := cid.op("c", "1", "x")
	h := ann.sync(cid).horizon()
	want(t, b.judge(t), BadShape, late)
	// Two may have the same T.
	same := ann.data(Record{Kind: Horizon, T: h.T})
	want(t, b.judge(t), OK, h, same)
}

// A junior's horizon keeps no definition of a senior from what it has settled; and a
// definition is later than what it names.
func TestDefinitionBehindAJuniorsHorizon(t *testing.T) {
	b := newBook()
	ann := b.owner()
	bob := ann.promoted(Admin, "bob")[0]
	op := bob.op("c", "1", "x")
	h := bob.horizon()
	def := ann.define("c", Def{In: true, Shapes: []string{"y"}})
	early := ann.define("d", Def{In: true})
	early.Data = append(slices.Clone(early.Data), Head{h.Log, h.Seq, h.Hash})
	h.Clock, h.T = early.Clock, early.Clock-1
	s := b.judge(t)
	want(t, s, OK, h, def)
	want(t, s, BadShape, op)
	want(t, s, Unknown, early)
}

// A role is for the logs that it lists; the others lose theirs with it.
func TestRoleOfSomeLogs(t *testing.T) {
	b := newBook()
	ann := b.owner()
	v := ann.invite(Writer)
	one, two, eve := ann.join("bob", 1, v), ann.join("bob", 2, v), ann.join("eve", 1, v)
	ann.sync(one, two, eve).control(Record{Kind: SetRole, Subject: "bob", Role: Admin, Joins: []Hash{one.last.Hash, eve.last.Hash, ann.last.Hash, "none"}})
	meet(ann, one, two, eve)
	ok, no, other := one.invite(Writer), two.invite(Writer), eve.invite(Writer)
	s := b.judge(t)
	want(t, s, OK, ok)
	want(t, s, Cut, no)
	want(t, s, NotInRole, other)
}

// Who knows the log of the last definition, but not that one, defines nothing behind a
// checkpoint.
func TestDefinitionBehindACheckpoint(t *testing.T) {
	b := newBook()
	ann := b.owner()
	bob := ann.promoted(Admin, "bob")[0]
	ann.op("c", "1", "x")
	bob.sync(ann)
	ann.define("c", Def{In: true})
	c := ann.checkpoint()
	late := bob.define("c", Def{In: true, Shapes: []string{"y"}})
	ok := bob.sync(ann).define("c", Def{In: true, Shapes: []string{"x"}})
	op := ann.sync(bob).op("c", "2", "y")
	s := b.judge(t)
	want(t, s, OK, c, ok)
	want(t, s, Stale, late)
	want(t, s, BadShape, op)
}

// A senior horizon that has not seen a record does not keep a junior's from moving it.
func TestHorizonsApart(t *testing.T) {
	b := newBook()
	ann := b.owner()
	bob := ann.promoted(Admin, "bob")[0]
	cid := ann.join("cid", 1, ann.invite(Writer))
	meet(ann, bob, cid)
	for range 5 {
		ann.op("c", "0", "x")
		bob.op("c", "0", "x")
		bob.op("c", "0", "x")
	}
	o, h := ann.horizon(), bob.horizon()
	late := cid.op("c", "1", "x")
	s := b.judge(t)
	want(t, s, OK, o, h)
	if s.Places[late.Hash] != h.T+1 || h.T <= o.T || late.Clock > o.T {
		t.Errorf("stands at %d, want after %d and %d", s.Places[late.Hash], o.T, h.T)
	}
	// What an identity revokes reaches behind its own horizon.
	hub := ann.sync(cid).add(2, true)
	doc := hub.op("c", "2", "x")
	ann.sync(hub).horizon()
	want(t, b.judge(t), OK, doc)
	r := b.device("ann", 0).sync(ann)
	r.log, r.thin = "r/ann", (*Record).control
	rev := r.control(Record{Kind: Revoke, Subject: "ann.2"})
	s = b.judge(t)
	want(t, s, OK, rev)
	want(t, s, Cut, doc)
}

// A record is part of the graph if it follows its log's last and is later than what it
// names.
func TestGraph(t *testing.T) {
	b := newBook()
	ann := b.owner()
	v := ann.invite(Writer)
	bob, eve := ann.join("bob", 1, v), ann.join("eve", 1, v)
	one := bob.op("c", "1", "x")
	var bad []*Record
	for _, change := range []func(r *Record){
		func(r *Record) { r.Prev = ann.last.Hash },
		func(r *Record) { r.Prev = eve.last.Hash; r.Seq = 2 },
		func(r *Record) { r.Prev = "" },
		func(r *Record) { r.Prev = one.Hash; r.Seq = 3 },
		func(r *Record) { r.Clock = r.Clock - 1 },
		func(r *Record) { r.Clock = 1 },
		func(r *Record) { r.Control = append(r.Control, one.Hash) },
		func(r *Record) { r.Of = "c/eve.1" },
	} {
		copied := *bob
		r := copied.op("c", "2", "x")
		r.Clock = one.Clock + 1
		change(r)
		bad = append(bad, r)
	}
	copied := *eve
	early := b.device("x", 1)
	early.held[v.Hash] = true
	bad = append(bad, early.control(Record{Kind: Join, Grant: v.Hash, Clock: v.Clock}))
	odd := *eve
	bad = append(bad, odd.op("c", "5", "x"))
	bad[len(bad)-1].Prev = eve.last.Hash
	bad = append(bad, copied.op("c", "3", "x"), copied.control(Record{Kind: Invite}))
	bad[len(bad)-2].Prev = one.Hash
	bad[len(bad)-1].Clock = 3
	want(t, b.judge(t), Apart, bad...)
	want(t, b.judge(t), OK, one)
}

// An admit ends no invite.
func TestAdmitEndsNothing(t *testing.T) {
	b := newBook()
	ann := b.owner()
	v := ann.invite(Writer)
	ok := ann.control(Record{Kind: Admit, Grant: v.Hash})
	bob := ann.join("bob", 1, v)
	want(t, b.judge(t), OK, ok, bob.last)
}

// Where no owner is left, an admin settles nothing.
func TestCheckpointOfAnAdmin(t *testing.T) {
	b := newBook()
	ann := b.owner()
	bob := ann.promoted(Admin, "bob")[0]
	bye := ann.control(Record{Kind: Transfer})
	no := bob.sync(ann).control(Record{Kind: Checkpoint})
	s := b.judge(t)
	want(t, s, OK, bye)
	want(t, s, NotInRole, no)
}

// What a horizon has seen is not cut by a junior's removal, also where it is later than T.
func TestSeenButLaterThanT(t *testing.T) {
	b := newBook()
	b.genesis.Late = 5
	ann := b.owner()
	bob := ann.promoted(Admin, "bob")[0]
	cid := ann.join("cid", 1, ann.invite(Writer))
	meet(ann, bob, cid)
	doc := cid.op("c", "1", "x")
	h := ann.sync(cid).horizon()
	gone := bob.remove("cid")
	more := cid.op("c", "2", "x")
	s := b.judge(t)
	want(t, s, OK, doc, h, gone)
	want(t, s, Cut, more)
	if doc.Clock <= h.T {
		t.Error("it is not later")
	}
}

// What a horizon moved, as a senior one has seen, is not moved back by a later horizon that
// has seen the one and claims not to have seen the other.
func TestNothingIsMovedBack(t *testing.T) {
	b := newBook()
	ann := b.owner()
	bob := ann.promoted(Admin, "bob")[0]
	cid := ann.join("cid", 1, ann.invite(Writer))
	meet(ann, bob, cid)
	old := *bob
	old.held = map[Hash]bool{}
	old.sync(bob)
	for range 5 {
		bob.op("c", "0", "x")
	}
	h := bob.horizon()
	late := cid.op("c", "1", "x")
	z := ann.sync(bob, cid).horizon()
	o := old.sync(cid).horizon()
	s := b.judge(t)
	want(t, s, OK, h, z, o)
	if s.Places[late.Hash] != h.T+1 {
		t.Errorf("stands at %d, want after %d", s.Places[late.Hash], h.T)
	}
}
