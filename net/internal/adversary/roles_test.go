package adversary

import (
	"fmt"
	"slices"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/net/internal/format"
	"github.com/weftdb/weft/node"
)

var readers = []attack{
	{
		name: "writes", play: readerWrites,
		tried:   "writes records into the data log that its join announced, sealed with the right key; defines a collection",
		remains: "It can publish what it reads.",
	},
	{
		name: "beyond-its-role", play: func(t *testing.T) string { return beyondRole(t, "reader") },
		tried: "invites, closes, admits, rotates, gives itself roles, removes the owner and a writer, writes a checkpoint, revokes another's device",
	},
}

var admins = []attack{
	{
		name: "removal-dated-back", play: adminDatesBack,
		tried:   "removes a writer by a record that says to have seen nothing of what that one wrote, dated before all of it",
		remains: "Until an owner's horizon has settled them, an admin can void what its juniors wrote, as a cut is what its author says to have seen. That the owner removes the admin and makes the writer one again does not bring it back.",
	},
	{
		name: "beyond-its-role", play: func(t *testing.T) string { return beyondRole(t, "admin") },
		tried: "makes itself owner and another admin, invites an admin, removes the owner and its device, cuts history off by a checkpoint, revokes the owner's device",
	},
	{
		name: "locks-out", play: adminLocksOut,
		tried:   "rotates to a key that it gives to nobody but itself",
		remains: "Until an owner or another admin rotates or removes it, nobody but it writes.",
	},
	{
		name: "close-without", play: adminLeavesOut,
		tried:   "closes an invite and leaves out a writer who joined by it",
		remains: "The left out waits until an owner or admin admits it; an owner's horizon will settle what it wrote before.",
	},
	{
		name: "after-removal", play: adminAfterRemoval,
		tried: "goes on removing, inviting and rotating after the owner removed it, by records that have not seen that",
	},
}

var removed = []attack{
	{
		name: "writes-on", play: removedWrites,
		tried: "writes on with the heads of before, dated now and dated before its removal, to each member directly",
	},
	{
		name: "hidden-records", play: removedHid,
		tried: "wrote records before, hid them, and has a member who is its friend bring them after the removal",
	},
	{
		name: "reads", play: removedReads,
		tried:   "asks every member for what is written now; opens a relay's disk with all its keys and URLs",
		remains: "It can read who is a member later, with a relay's help: control logs are sealed with the service key, which does not change.",
	},
	{
		name: "returns", play: removedReturns,
		tried:   "joins again: by an open invite that it knew, by one made after that leaked to it, as itself and as a new identity",
		remains: "Whoever leaks it the URL of an invite made after lets a new identity in: nothing tells that it is the same person.",
	},
	{
		name: "new-device", play: removedAddsDevice,
		tried: "adds a new device, by a record of its log that has not seen the removal, brought by its friend; the device begins",
	},
	{
		name: "friend", play: removedFriend,
		tried:   "has a writer who is its friend admit it, name its records in its own, and hand them to all",
		remains: "The friend can tell it what is written.",
	},
}

// recipients of a new epoch are the devices of members that which selects.
func recipients(all []node.Member, which func(m node.Member) bool) (to []format.Recipient) {
	for _, m := range all {
		if which(m) {
			to = append(to, format.Recipient{Sign: m.Device, Seal: m.Seal})
		}
	}
	return to
}

// firstOf is the first control record of a device.
func (v *villain) firstOf(device keys.PublicKey) clock.Hash {
	v.t.Helper()
	for _, run := range v.runs {
		d, err := format.DecodeDescriptor(run.Descriptor)
		must(v.t, err)
		if d.Kind != format.KindControl || d.Device != device {
			continue
		}
		for _, rec := range run.Records {
			if h, err := format.DecodeHeader(rec.Header); err == nil && h.Seq == 1 {
				return format.RecordHash(v.id, rec.Header)
			}
		}
	}
	v.t.Fatal("no log of the device is known")
	return clock.Hash{}
}

// epochFor is an epoch that a villain begins for the members that which selects.
func (v *villain) epochFor(all []node.Member, which func(m node.Member) bool) *format.Epoch {
	v.t.Helper()
	e, err := format.NewEpoch(v.id, &v.keys, v.present(), recipients(all, which), nil)
	must(v.t, err)
	return e
}

// rights is who may do what, as a node says.
func rights(t testing.TB, n *node.Node) string {
	t.Helper()
	s := ""
	for _, m := range members(t, n) {
		s += fmt.Sprint(m.Device, m.Role, "\n")
	}
	all, err := n.Invites(name)
	must(t, err)
	for _, i := range all {
		s += fmt.Sprint(i.Key, i.Role, i.Closed && i.Uses == 0, "\n") // its maker closes one that is used up
	}
	return s
}

// beyondRole has a member write every control operation that its role does not give it.
func beyondRole(t *testing.T, role string) string {
	o, n, v := scene(t, role)
	insert(t, o, "of o")
	insert(t, n, "of n")
	sameEverywhere(t, o, n)
	open := invite(t, o, node.InviteOptions{Uses: -1})
	v.takeURL(open)
	v.catchUp(o)
	all := members(t, o)
	id := keys.NewIdentity()
	sealed, err := format.SealForInvite(v.id, id, func() *format.Keys { k := v.keys.Under(v.present()); return &k }())
	must(t, err)
	mine := []clock.Hash{v.firstOf(v.sign())}
	view := slices.DeleteFunc(v.tipsOf(), func(r clock.RecordID) bool { return r.Log == v.ownControl.desc.LogID(v.id) })
	checkpoint := &format.Checkpoint{Heads: view[:1], Snapshot: clock.RecordID{Log: clock.LogID{1}, Seq: 1, Hash: clock.Hash{1}}}
	invited := v.control[slices.IndexFunc(v.control, func(k *known) bool { return k.say.Op == format.OpInvite && k.say.Key == v.invites[1].Key() })].hash
	epoch := func() *format.Epoch {
		return v.epochFor(all, func(m node.Member) bool { return m.Device == v.sign() })
	}
	tries := map[string]*format.Control{
		"makes itself owner":  {Op: format.OpRole, Subject: v.identity.Public(), Role: format.RoleOwner, Joins: mine},
		"makes itself admin":  {Op: format.OpRole, Subject: v.identity.Public(), Role: format.RoleAdmin, Joins: mine},
		"makes another admin": {Op: format.OpRole, Subject: n.Identity(), Role: format.RoleAdmin, Joins: []clock.Hash{v.firstOf(n.Device())}},
		"removes the owner":   {Op: format.OpRemove, Subject: o.Identity(), Epoch: epoch()},
		"removes its device":  {Op: format.OpRemove, Subject: o.Device()},
		"invites an admin":    {Op: format.OpInvite, Key: id.Public(), Role: format.RoleAdmin, Sealed: sealed},
		"cuts history off":    {Op: format.OpCheckpoint, Checkpoint: checkpoint},
	}
	if role == "admin" { // it may close invites
		delete(tries, "removes its device")
		delete(tries, "removes the owner")
		must(t, v.bring(o, v.says(&format.Control{Op: format.OpRemove, Subject: o.Identity(), Epoch: v.epochFor(all, func(node.Member) bool { return true })}, nil), v.says(&format.Control{Op: format.OpRemove, Subject: o.Device()}, nil)))
		if roleOf(t, o, o.Device()) != format.RoleOwner {
			t.Error("an admin removes the owner")
		}
	} else {
		tries["removes a device of its own that there is not"] = &format.Control{Op: format.OpRemove, Subject: keys.NewDevice().Public().Sign}
		tries["removes a writer"] = &format.Control{Op: format.OpRemove, Subject: n.Identity()}
		tries["invites"] = &format.Control{Op: format.OpInvite, Key: id.Public(), Role: format.RoleWriter, Sealed: sealed}
		tries["closes"] = &format.Control{Op: format.OpClose, Invite: invited}
		tries["admits"] = &format.Control{Op: format.OpAdmit, Joins: mine}
		tries["rotates"] = &format.Control{Op: format.OpRotate, Epoch: epoch()}
	}
	before := rights(t, o)
	for what, p := range tries {
		must(t, v.bring(o, v.says(p, func(h *format.Header) { h.Control = v.heads() })))
		if after := rights(t, o); after != before {
			t.Errorf("a %s %s: %s\nbefore: %s", role, what, after, before)
		}
	}
	// Of another identity's device, without a device: a log of one record, which that signs.
	c := v.newChain(format.KindControl, clock.LogID{})
	must(t, v.bring(o, v.sayOn(c, &format.Control{Op: format.OpRevoke, Subject: o.Device()}, func(h *format.Header) { h.Control = v.heads() })))
	if after := rights(t, o); after != before {
		t.Errorf("a %s revokes the owner's device", role)
	}
	insert(t, o, "after")
	insert(t, n, "after that")
	sameEverywhere(t, o, n)
	if rights(t, n) != before || !has(t, n, "of o") || !has(t, o, "after that") {
		t.Error("something is not as it was")
	}
	return fmt.Sprintf("None of %d operations had effect on anybody's rights, on any node; all documents stayed, and everybody went on writing.", len(tries)+1)
}

func readerWrites(t *testing.T) string {
	o, n, v := scene(t, "reader")
	insert(t, o, "of o")
	v.catchUp(o)
	if opened, sealed := v.opens(v.runs); opened == 0 || opened != sealed {
		t.Errorf("it reads %d of %d records", opened, sealed)
	}
	me := `writer == "` + v.identity.Public().DID() + `"`
	mine := payloads(t, func(d *db.DB) error {
		return d.CreateCollection(t.Context(), things, db.CollectionOptions{Rules: db.Rules{Write: me, Define: me}})
	})
	for _, at := range []*node.Node{o, n} {
		must(t, v.bring(at, v.writes(append(inserts(t, "of v", "of v too"), mine...), nil)))
	}
	insert(t, n, "of n") // which its rules would refuse
	sameEverywhere(t, o, n)
	for _, at := range []*node.Node{o, n} {
		if has(t, at, "of v") || has(t, at, "of v too") {
			t.Error("a reader writes")
		}
	}
	if role := roleOf(t, o, v.sign()); role != format.RoleReader {
		t.Errorf("it is %v", role)
	}
	return "Nothing of it counted, at anybody's, whom it told directly."
}

func adminDatesBack(t *testing.T) string {
	o, n, v := scene(t, "admin")
	insert(t, n, "1", "2", "3")
	insert(t, o, "of o")
	sameEverywhere(t, o, n)
	v.catchUp(o)
	all := members(t, o)
	// It names its own role and n's join, and no data.
	e := v.epochFor(all, func(m node.Member) bool { return m.Device != n.Device() })
	var role clock.Hash
	for _, k := range v.control {
		if k.say.Op == format.OpRole && k.say.Subject == v.identity.Public() {
			role = k.hash
		}
	}
	removal := v.says(&format.Control{Op: format.OpRemove, Subject: n.Identity(), Epoch: e}, func(h *format.Header) {
		h.Control, h.Time = []clock.Hash{role}, v.index[role].header.Time+1
	})
	must(t, v.bring(o, removal))
	eventually(t, "it is removed", func() bool { return !isMember(t, o, n.Device()) })
	eventually(t, "what it wrote is void", func() bool { return !has(t, o, "1") && !has(t, o, "3") })
	if !has(t, o, "of o") {
		t.Error("it reaches an owner's documents")
	}
	// The owner removes the admin and takes n back.
	must(t, o.RemoveMember(t.Context(), name, v.identity.Public()))
	must(t, o.SetRole(t.Context(), name, n.Identity(), "writer"))
	eventually(t, "it is a member again", func() bool { return isMember(t, n, n.Device()) && isMember(t, o, n.Device()) })
	eventually(t, "it can write", func() bool {
		_, err := database(t, n).Collection(things).Insert(t.Context(), document(t, bson.D{{Key: "_id", Value: "again"}}))
		return err == nil
	})
	sameEverywhere(t, o, n)
	if !has(t, o, "again") {
		t.Error("what it writes then does not count")
	}
	if has(t, o, "1") {
		return "It counts, whatever its date: the writer was removed, and its three documents were void at everybody. The owner's stayed. The owner removed the admin and made the writer one again, and the three came back."
	}
	return "It counts, whatever its date: the writer was removed, and its three documents were void at everybody. The owner's stayed. The owner removed the admin and made the writer one again: it wrote on, and the three did not come back."
}

func adminLocksOut(t *testing.T) string {
	o, n, v := scene(t, "admin")
	v.catchUp(o)
	e := v.epochFor(members(t, o), func(m node.Member) bool { return m.Device == v.sign() })
	must(t, v.bring(o, v.says(&format.Control{Op: format.OpRotate, Epoch: e}, nil)))
	_, err := database(t, o).Collection(things).Insert(t.Context(), document(t, bson.D{{Key: "_id", Value: "locked out"}}))
	if err == nil {
		t.Error("the owner writes, and the table says that it is locked out")
	}
	must(t, o.RemoveMember(t.Context(), name, v.identity.Public()))
	insert(t, o, "after")
	sameEverywhere(t, o, n)
	insert(t, n, "of n")
	sameEverywhere(t, o, n)
	if !has(t, n, "after") || !has(t, o, "of n") {
		t.Error("they cannot go on")
	}
	return "The owner could write nothing, and was told so, until it removed the admin, which began another epoch; then everybody wrote on."
}

func adminLeavesOut(t *testing.T) string {
	o := newOwner(t)
	url := invite(t, o, node.InviteOptions{Uses: 2})
	n := openNode(t, node.Config{})
	joinBy(t, n, o, url)
	insert(t, n, "of n")
	v := newVillain(t)
	v.enters(o, invite(t, o, node.InviteOptions{}))
	must(t, o.SetRole(t.Context(), name, v.identity.Public(), "admin"))
	v.catchUp(o)
	inv, err := format.ParseInvite(url)
	must(t, err)
	i := slices.IndexFunc(v.control, func(k *known) bool { return k.say.Op == format.OpInvite && k.say.Key == inv.Key() })
	must(t, v.bring(o, v.says(&format.Control{Op: format.OpClose, Invite: v.control[i].hash}, nil)))
	happened := "It had no effect: the invite was an owner's, who is senior."
	if !isMember(t, o, n.Device()) {
		eventually(t, "what it wrote is void", func() bool { return !has(t, o, "of n") })
		w, err := o.WaitingJoins(name)
		must(t, err)
		if len(w) != 1 {
			t.Fatalf("waiting %v", w)
		}
		must(t, o.Admit(t.Context(), name, w[0].Join))
		eventually(t, "it is back, with what it wrote", func() bool { return isMember(t, o, n.Device()) && has(t, o, "of n") })
		happened = "It waited, listed, and what it had written was void; the owner admitted it, and it was back with all of it."
	}
	eventually(t, "it has heard", func() bool { return isMember(t, n, n.Device()) })
	insert(t, n, "after")
	eventually(t, "it writes on", func() bool { return has(t, o, "after") })
	return happened
}

func adminAfterRemoval(t *testing.T) string {
	o, n, v := scene(t, "admin")
	insert(t, n, "of n")
	v.catchUp(o)
	heads := v.heads()
	all := members(t, o)
	must(t, o.RemoveMember(t.Context(), name, v.identity.Public()))
	sameEverywhere(t, o, n)
	before := rights(t, o)
	id := keys.NewIdentity()
	k := v.keys.Under(v.present())
	sealed, err := format.SealForInvite(v.id, id, &k)
	must(t, err)
	for _, p := range []*format.Control{
		{Op: format.OpRemove, Subject: n.Identity(), Epoch: v.epochFor(all, func(m node.Member) bool { return m.Device == v.sign() })},
		{Op: format.OpInvite, Key: id.Public(), Role: format.RoleWriter, Sealed: sealed},
		{Op: format.OpRotate, Epoch: v.epochFor(all, func(m node.Member) bool { return m.Device == v.sign() })},
		{Op: format.OpRole, Subject: v.identity.Public(), Role: format.RoleWriter, Joins: []clock.Hash{v.firstOf(v.sign())}},
	} {
		run := v.says(p, func(h *format.Header) { h.Control = heads })
		for _, at := range []*node.Node{o, n} {
			must(t, v.bring(at, run))
			if after := rights(t, at); after != before {
				t.Errorf("%v has effect: %s", p.Op, after)
			}
		}
	}
	insert(t, n, "after")
	sameEverywhere(t, o, n)
	if !has(t, o, "of n") || !has(t, o, "after") {
		t.Error("a document is gone")
	}
	return "None of it had effect, at anybody's: the removal has not seen it."
}

// exiled is a scene in which a writer has written, knows an open invite, and was removed. It
// returns the URL.
func exiled(t *testing.T) (o, n *node.Node, v *villain, url string) {
	t.Helper()
	o, n, v = scene(t, "writer")
	url = invite(t, o, node.InviteOptions{Uses: -1})
	v.takeURL(url)
	must(t, v.bring(o, v.writes(inserts(t, "of v"), nil)))
	insert(t, o, "before")
	sameEverywhere(t, o, n)
	v.catchUp(o)
	return o, n, v, url
}

func remove(t *testing.T, o, n *node.Node, v *villain) {
	t.Helper()
	must(t, o.RemoveMember(t.Context(), name, v.identity.Public()))
	eventually(t, "the other has heard", func() bool { return !isMember(t, n, v.sign()) })
	sameEverywhere(t, o, n)
}

func removedWrites(t *testing.T) string {
	o, n, v, _ := exiled(t)
	then := v.ownData.time
	remove(t, o, n, v)
	log := v.ownData.desc.LogID(v.id).String()
	docs := inserts(t, "now", "then")
	dated := v.ownData.copy()
	for _, run := range []format.Run{v.writes(docs[:1], nil), v.writesOn(dated, docs[1:], func(h *format.Header) { h.Time = then + 1 })} {
		for _, at := range []*node.Node{o, n} {
			must(t, v.bring(at, run))
		}
	}
	insert(t, n, "after")
	sameEverywhere(t, o, n)
	for _, at := range []*node.Node{o, n} {
		if has(t, at, "now") || has(t, at, "then") || !has(t, at, "of v") {
			t.Error("what it wrote later counts, or what it wrote before does not")
		}
	}
	if a, b := info(t, o).Heads[log], info(t, n).Heads[log]; a != 1 || b != 1 {
		t.Errorf("%d and %d records of its log are kept: it fills the disk", a, b)
	}
	return "Nothing of it was taken, whatever its date; what it had written before stands."
}

func removedHid(t *testing.T) string {
	o, n, v, _ := exiled(t)
	friend := newVillain(t)
	friend.enters(o, invite(t, o, node.InviteOptions{}))
	hidden := v.writes(inserts(t, "hidden"), nil) // dated, and sealed, as before
	remove(t, o, n, v)
	friend.catchUp(o)
	for _, at := range []*node.Node{o, n} {
		must(t, friend.bring(at, hidden))
	}
	insert(t, n, "after")
	sameEverywhere(t, o, n)
	if has(t, o, "hidden") || has(t, n, "hidden") {
		t.Error("a record counts that the removal has not seen")
	}
	return "Void at everybody: the removal has not seen them."
}

func removedReads(t *testing.T) string {
	o, n, v, _ := exiled(t)
	friend := newVillain(t) // shows it what a relay has
	friend.enters(o, invite(t, o, node.InviteOptions{}))
	remove(t, o, n, v)
	tips := v.tipsOf()
	insert(t, o, "secret")
	insert(t, n, "secret of n")
	sameEverywhere(t, o, n)
	for _, at := range []*node.Node{o, n} {
		g := v.fetch(at, tips, nil)
		if _, sealed := v.opens(g.runs); sealed != 0 {
			t.Errorf("it is given %d data records", sealed)
		}
		for i := range v.invites {
			if g := v.fetch(at, tips, &v.invites[i]); len(g.runs) > 0 {
				if _, sealed := v.opens(g.runs); sealed != 0 {
					t.Error("it is given data by an invite")
				}
			}
		}
	}
	disk := friend.fetch(o, tips, nil)
	v.learn(disk.runs...)
	opened, sealed := v.opens(disk.runs)
	if opened != 0 || sealed < 2 {
		t.Errorf("it opens %d of %d records written after", opened, sealed)
	}
	return fmt.Sprintf("Members gave it no data record; of the %d on a relay's disk it opened 0.", sealed)
}

func removedReturns(t *testing.T) string {
	o, n, v, url := exiled(t)
	remove(t, o, n, v)
	inv, err := format.ParseInvite(url)
	must(t, err)
	again := func(x *villain, by format.Invite) {
		_, _, join := x.joinOf(by, nil)
		for _, at := range []*node.Node{o, n} {
			must(t, x.bring(at, join))
		}
	}
	again(v, inv)
	other := newVillainOf(t, v.identity, keys.CertifyOptions{}) // another device of it
	other.learnFrom(v)
	again(other, inv)
	fresh := newVillain(t) // and another identity
	fresh.learnFrom(v)
	again(fresh, inv)
	for _, x := range []*villain{v, other, fresh} {
		if isMember(t, o, x.sign()) || isMember(t, n, x.sign()) {
			t.Error("it is back by an invite of before")
		}
	}
	// One made after leaks.
	later := newVillainOf(t, v.identity, keys.CertifyOptions{})
	leaked := invite(t, o, node.InviteOptions{Uses: -1})
	by := later.takeURL(leaked)
	later.fetch(o, nil, &by)
	again(later, by)
	if isMember(t, o, later.sign()) || isMember(t, n, later.sign()) {
		t.Error("who is barred is back by an invite made after")
	}
	stranger := newVillain(t)
	by = stranger.takeURL(leaked)
	stranger.fetch(o, nil, &by)
	again(stranger, by)
	if !isMember(t, o, stranger.sign()) {
		t.Error("whoever has an open invite joins, says the table")
	}
	return "By the invite of before nobody came in, as it is closed. By the one made after, its identity waited, barred, with any device; a new identity came in."
}

func removedAddsDevice(t *testing.T) string {
	o, n, v, _ := exiled(t)
	friend := newVillain(t)
	friend.enters(o, invite(t, o, node.InviteOptions{}))
	heads := v.heads()
	remove(t, o, n, v)
	friend.catchUp(o)
	d := newVillainOf(t, v.identity, keys.CertifyOptions{})
	d.learnFrom(v)
	cert, err := d.cert.Encode()
	must(t, err)
	adds := v.says(&format.Control{Op: format.OpDevice, Certificate: cert}, func(h *format.Header) { h.Control = heads })
	c := d.newChain(format.KindControl, clock.LogID{})
	data := d.newChain(format.KindData, c.desc.LogID(d.id))
	begins := d.sayOn(c, &format.Control{Op: format.OpStart, Added: v.ownControl.prev, Data: data.desc.Encode()}, func(h *format.Header) {
		h.Control, h.Time = []clock.Hash{v.ownControl.prev}, v.ownControl.time+1
	})
	for _, at := range []*node.Node{o, n} {
		must(t, friend.bring(at, adds, begins))
		must(t, d.bring(at, adds, begins))
		if isMember(t, at, d.sign()) {
			t.Error("its new device is a member")
		}
	}
	if g := d.fetch(o, nil, nil); g.refused == "" {
		if _, sealed := d.opens(g.runs); sealed != 0 {
			t.Error("its new device is given data")
		}
	}
	insert(t, n, "after")
	sameEverywhere(t, o, n)
	return "The device was no member at anybody's, and was given no data."
}

func removedFriend(t *testing.T) string {
	o, n, v, _ := exiled(t)
	friend := newVillain(t)
	friend.enters(o, invite(t, o, node.InviteOptions{}))
	remove(t, o, n, v)
	friend.catchUp(o)
	_, _, join := v.joinOf(v.invites[1], nil)
	h, err := format.DecodeHeader(join.Records[0].Header)
	must(t, err)
	hash := format.RecordHash(v.id, join.Records[0].Header)
	late := v.writes(inserts(t, "late"), nil)
	says := friend.says(&format.Control{Op: format.OpAdmit, Joins: []clock.Hash{hash}}, func(x *format.Header) {
		x.Control = append(friend.heads(), hash)
		slices.SortFunc(x.Control, format.CompareHashes)
		x.Time = max(x.Time, h.Time+1)
	})
	wrote := friend.writes(inserts(t, "of the friend"), func(x *format.Header) {
		x.Control = []clock.Hash{friend.ownControl.prev}
		x.Time = friend.ownControl.time + 1
	})
	for _, at := range []*node.Node{o, n} {
		must(t, friend.bring(at, join, says, late, wrote))
	}
	insert(t, o, "after")
	sameEverywhere(t, o, n)
	for _, at := range []*node.Node{o, n} {
		if isMember(t, at, v.sign()) || has(t, at, "late") {
			t.Error("it is back")
		}
		if !has(t, at, "of the friend") {
			t.Error("the friend, who is a writer, does not count")
		}
	}
	return "It was no member, and nothing that it wrote counted; the friend is a writer as before."
}
