package adversary

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/net/internal/format"
	"github.com/weftdb/weft/net/internal/wire"
	"github.com/weftdb/weft/node"
)

// horizons says whether an owner's horizon settles what was written before another's
// document: then an insert that is dated before it comes after it.
const horizons = false

var writers = []attack{
	{
		name: "definition-before", row: 1, play: writerDefines,
		tried: "dates one definition before the owner's, by which nobody but itself may write and define",
	},
	{
		name: "insert-before", row: 2, play: writerInsertsBefore,
		tried:   "dates an insert before the owner's document of that `_id`, which rules protect",
		remains: "Until an owner's horizon, a writer chooses where its writes stand among those of others, back to its own join: rules that ask whether a document was there first do not hold against members, and unique keys can be taken so.",
	},
	{
		name: "own-join", row: 4, play: writerVoidsItself,
		tried: "makes its own earlier join void: by a second first record in its log, ground and dated to come first, and by a second join of its device",
	},
	{
		name: "many-logs", row: 8, play: writerLogs, alone: true,
		tried:   "announces thousands of data logs, and writes one record in each",
		remains: "Each log costs its records at everybody, and a line of memory: the bound of 16 open logs and one an hour is not built.",
	},
	{
		name: "fork", row: 9, play: writerForks,
		tried:   "forks its log of megabytes near its begin by one small record",
		remains: "Both branches count, and the fork is proved by two signed heads.",
	},
	{
		name: "clock-at-limit", row: 11, play: writerClock,
		tried:   "writes all the time with a clock at the limit of five minutes, while the owner writes",
		remains: "Clocks of others, and what `now`, `_mod` and TTL say of what they write, run up to five minutes ahead while it does so; no further.",
	},
	{
		name: "clock-beyond", play: writerClockBeyond,
		tried:   "writes records dated an hour and a century ahead, and goes on after them",
		remains: "They wait on disk until their time has come, and so does what it writes after them.",
	},
	{
		name: "equivocates", play: writerEquivocates,
		tried:   "tells the owner one thing and another member another, at one position of its log",
		remains: "Both count.",
	},
	{
		name: "mebibytes", play: writerFloods, alone: true,
		tried:   "writes records of nearly a mebibyte, one after the other",
		remains: "A writer fills the disk of everybody: members have no quota yet (a relay's account has one, by its gate). A full disk refuses writes by name, and goes on when there is room.",
	},
	{
		name: "forges", play: writerForges,
		tried:   "writes into the owner's log, signs with its own key, swaps the bodies of two records, moves a record from another database",
		remains: "It comes again with another device key, as a stranger, unless it is certified and added.",
	},
	{
		name: "false-blobs", play: writerBlobs,
		tried:   "lists blobs, and sends other bytes than their names say",
		remains: "Blobs that are what their names say are fetched ahead, whatever they are: a member fills the disk so, too.",
	},
	{
		name: "beyond-its-role", play: func(t *testing.T) string { return beyondRole(t, "writer") },
		tried: "invites, closes, admits, rotates, gives itself roles, removes the owner and another writer, writes a checkpoint, revokes another's device",
	},
	{
		name: "invented-heads", play: writerInvents,
		tried:   "names control records and data records that do not exist, and then goes on",
		remains: "What it writes after that in the same log waits for ever, on disk.",
	},
	{
		name: "malformed", play: writerMalformed,
		tried: "writes records whose payload is no transaction, sealed with the right key; and one sealed with another key",
	},
	{
		name: "forked-control", play: writerForksControl, alone: true,
		tried:   "forks its control log hundreds of times, by a record each",
		remains: "Branches of a log have no bound yet. What each costs grows with how many there are, and an acknowledgement names all of a log: n of them make up to n² heads travel back.",
	},
	{
		name: "silence", play: writerSilent,
		tried: "opens sessions and subscriptions, and neither reads nor answers",
	},
}

// scene is an owner, an honest member and a villain of a role, all of one database.
func scene(t *testing.T, role string) (o, n *node.Node, v *villain) {
	t.Helper()
	o = newOwner(t)
	n = newMember(t, o)
	v = newVillain(t)
	given := role
	if role == "admin" {
		given = "writer"
	}
	v.enters(o, invite(t, o, node.InviteOptions{Role: given}))
	if role == "admin" {
		must(t, o.SetRole(t.Context(), name, v.identity.Public(), "admin"))
		v.catchUp(o)
	}
	eventually(t, "the other knows it", func() bool { return isMember(t, n, v.sign()) })
	return o, n, v
}

// barriers counts what sameEverywhere has written.
var barriers atomic.Int64

// sameEverywhere waits until nodes have folded whatever any of them had taken, and hold the
// same. Each writes a document: once the others have it, they have what it had before.
func sameEverywhere(t *testing.T, nodes ...*node.Node) {
	t.Helper()
	for _, n := range nodes {
		id := fmt.Sprint("barrier ", barriers.Add(1))
		_, err := database(t, n).Collection("barriers").Insert(t.Context(), document(t, bson.D{{Key: "_id", Value: id}}))
		must(t, err)
		for _, other := range nodes {
			eventually(t, "a barrier is everywhere", func() bool {
				_, err := database(t, other).Collection("barriers").Get(t.Context(), id)
				return err == nil
			})
		}
	}
	for _, n := range nodes[1:] {
		synced(t, nodes[0], n)
		eventually(t, "the states are equal", func() bool { return info(t, nodes[0]).Hash == info(t, n).Hash })
	}
}

// joinedEarly is scene with a writer whose join is dated to its invite + 1.
func joinedEarly(t *testing.T) (o, n *node.Node, v *villain) {
	t.Helper()
	o = newOwner(t)
	v = newVillain(t)
	inv := v.takeURL(invite(t, o, node.InviteOptions{}))
	v.fetch(o, nil, &inv)
	var join format.Run
	v.ownControl, v.ownData, join = v.joinOf(inv, func(h *format.Header) { h.Time = v.index[h.Control[0]].header.Time + 1 })
	v.learn(join)
	must(t, v.bring(o, join))
	eventually(t, "the villain is a member", func() bool { return isMember(t, o, v.sign()) })
	return o, newMember(t, o), v
}

func writerDefines(t *testing.T) string {
	o, n, v := joinedEarly(t)
	joined := v.ownControl.time
	rules := db.Rules{Write: `writer == "` + o.Identity().DID() + `"`}
	must(t, database(t, o).CreateCollection(t.Context(), things, db.CollectionOptions{Rules: rules}))
	for i := range 100 {
		insert(t, o, fmt.Sprint(i))
	}
	me := `writer == "` + v.identity.Public().DID() + `"`
	mine := payloads(t, func(d *db.DB) error {
		return d.CreateCollection(t.Context(), things, db.CollectionOptions{Rules: db.Rules{Write: me, Define: me}})
	})
	must(t, v.bring(o, v.writes(mine, func(h *format.Header) { h.Time, h.Control = joined+2, []clock.Hash{v.ownControl.prev} })))
	sameEverywhere(t, o, n)
	for _, at := range []*node.Node{o, n} {
		eventually(t, "the definition is listed as refused", func() bool { return refusals(t, at, db.ReasonRole) > 0 })
		if c := count(t, at); c != 100 {
			t.Errorf("%d of 100 documents remain", c)
		}
	}
	insert(t, o, "more")
	if _, err := database(t, o).ModifyCollection(t.Context(), things, db.CollectionChange{Rules: &rules}); err != nil {
		t.Errorf("the owner cannot set its rules: %v", err)
	}
	sameEverywhere(t, o, n)
	return "Listed as refused (`role`) on every node; 0 of 100 documents lost, the owner went on writing and defining."
}

// refusals counts what the fold of a node refused for a reason.
func refusals(t testing.TB, n *node.Node, why db.Reason) (count int) {
	t.Helper()
	for r, err := range database(t, n).Refused(t.Context(), db.RefusedOptions{}) {
		must(t, err)
		if r.Reason == why {
			count++
		}
	}
	return count
}

func writerInsertsBefore(t *testing.T) string {
	o, n, v := joinedEarly(t)
	rules := db.Rules{Write: `old == null ? doc.owner == writer : old.owner == writer`}
	must(t, database(t, o).CreateCollection(t.Context(), things, db.CollectionOptions{Rules: rules}))
	v.catchUp(o)
	var defined clock.Time
	for _, run := range v.runs {
		for _, rec := range run.Records {
			h, err := format.DecodeHeader(rec.Header)
			must(t, err)
			defined = max(defined, h.Time)
		}
	}
	insert(t, o, "a")
	sameEverywhere(t, o, n)
	me := v.identity.Public().DID()
	mine := payloads(t, func(d *db.DB) error {
		_, err := d.Collection(things).Insert(t.Context(), document(t, bson.D{{Key: "_id", Value: "a"}, {Key: "owner", Value: me}}))
		return err
	})
	must(t, v.bring(o, v.writes(mine, func(h *format.Header) { h.Time, h.Control = defined+1, []clock.Hash{v.ownControl.prev} })))
	want := me
	if horizons {
		want = o.Identity().DID()
	}
	for _, at := range []*node.Node{o, n} {
		eventually(t, "the document is "+want+"'s", func() bool {
			d, err := database(t, at).Collection(things).Get(t.Context(), "a")
			must(t, err)
			owner, _ := d.Raw.Lookup("owner").StringValueOK()
			return owner == want
		})
	}
	sameEverywhere(t, o, n)
	if horizons {
		return "It came after the owner's, whose horizon had settled it, and was refused everywhere."
	}
	return "It took the place of the owner's document, the same at everybody; the owner's insert is listed as refused there."
}

func writerVoidsItself(t *testing.T) string {
	o, n, v := scene(t, "writer")
	must(t, v.bring(o, v.writes(inserts(t, "of v"), nil)))
	sameEverywhere(t, o, n)
	// Again, at the first position of its log, and once more in another log.
	join := v.control[slices.IndexFunc(v.control, func(k *known) bool { return k.log == v.ownControl.desc.LogID(v.id) })]
	again := &chain{desc: v.ownControl.desc}
	var second format.Run
	for {
		c := again.copy()
		second = v.sayOn(c, join.say, func(h *format.Header) {
			h.Time, h.Control = v.index[join.header.Control[0]].header.Time+1, join.header.Control
		})
		if c.prev[0] < join.hash[0] || join.hash[0] == 0 {
			break
		}
	}
	_, _, third := v.joinOf(v.invites[0], func(h *format.Header) { h.Time = v.index[h.Control[0]].header.Time + 1 })
	must(t, v.bring(o, second, third))
	must(t, v.bring(n, second, third))
	insert(t, o, "after")
	sameEverywhere(t, o, n)
	for _, at := range []*node.Node{o, n} {
		if !has(t, at, "of v") || !isMember(t, at, v.sign()) {
			t.Error("it is void")
		}
	}
	return "Its first join stood, and so did what it had written, at everybody."
}

func writerLogs(t *testing.T) string {
	o, n, v := scene(t, "writer")
	payload := inserts(t, "one")[0]
	var control []format.Record
	var data []format.Run
	size := 0
	for range massLogs {
		c := v.newChain(format.KindData, v.ownControl.desc.LogID(v.id))
		r := v.forge(v.ownControl, v.keys.Service, (&format.Control{Op: format.OpLog, Data: c.desc.Encode()}).Encode(), func(h *format.Header) {
			h.Control = nil
			if len(control) == 0 {
				h.Control = v.heads()
			}
		})
		control = append(control, r)
		at := v.ownControl.prev
		run := v.writesOn(c, [][]byte{payload}, func(h *format.Header) { h.Control, h.Time = []clock.Hash{at}, v.ownControl.time+1 })
		data = append(data, run)
		size += len(format.EncodeRun(run)) + r.Size()
	}
	start := time.Now()
	for part := range slices.Chunk(control, 1000) {
		must(t, v.bring(o, v.run(v.ownControl, part...)))
	}
	for part := range slices.Chunk(data, 500) {
		must(t, v.bring(o, part...))
	}
	took := time.Since(start)
	start = time.Now()
	sameEverywhere(t, o, n)
	spread := time.Since(start)
	start = time.Now()
	y := newMember(t, o) // with a subscription that names them all
	insert(t, y, "of y")
	sameEverywhere(t, o, y)
	joined := time.Since(start)
	if !has(t, o, "of y") || !has(t, n, "one") {
		t.Error("something is missing")
	}
	return fmt.Sprintf("%d logs of %d KB in all: taken in %.1f s, at the other member %.1f s later; a new member joined in %.1f s, and nobody was reset or banned.",
		massLogs, size>>10, took.Seconds(), spread.Seconds(), joined.Seconds())
}

// bulk returns payloads that insert documents of size random bytes.
func bulk(t testing.TB, n, size int) [][]byte {
	t.Helper()
	var do []func(d *db.DB) error
	for i := range n {
		do = append(do, func(d *db.DB) error {
			b := make([]byte, size)
			_, _ = rand.Read(b)
			_, err := d.Collection(things).Insert(t.Context(), document(t, bson.D{{Key: "_id", Value: fmt.Sprint("bulk ", i)}, {Key: "b", Value: b}}))
			return err
		})
	}
	return payloads(t, do...)
}

func writerForks(t *testing.T) string {
	o, n, v := scene(t, "writer")
	reader := newVillain(t) // counts what a peer is sent
	reader.enters(o, invite(t, o, node.InviteOptions{Role: "reader"}))
	first := v.writes(inserts(t, "first"), nil)
	fork := v.ownData.copy()
	must(t, v.bring(o, first))
	for part := range slices.Chunk(bulk(t, 64, forkedBytes/64), 16) {
		must(t, v.bring(o, v.writes(part, nil)))
	}
	sameEverywhere(t, o, n)
	whole := reader.catchUp(o)
	if whole.bytes < forkedBytes {
		t.Fatalf("the log has %d bytes", whole.bytes)
	}
	branch := v.writesOn(fork, inserts(t, "fork"), nil)
	size := len(format.EncodeRun(branch))
	must(t, v.bring(o, branch))
	eventually(t, "the fork counts", func() bool { return has(t, o, "fork") })
	sameEverywhere(t, o, n)
	travelled := 0
	for _, run := range reader.fetch(o, whole.tips, nil).runs {
		if bytes.Equal(run.Descriptor, branch.Descriptor) {
			travelled += len(format.EncodeRun(run))
		}
	}
	if travelled == 0 || travelled > 3*size {
		t.Errorf("%d bytes of a fork make %d bytes travel", size, travelled)
	}
	if !has(t, n, "fork") || !has(t, n, "first") || !has(t, n, "bulk 63") {
		t.Errorf("a branch does not count: %v %v %v", has(t, n, "fork"), has(t, n, "first"), has(t, n, "bulk 63"))
	}
	if c, err := o.Compact(t.Context(), name); err != nil || !c.Cut {
		t.Errorf("the history is not cut off: %+v, %v", c, err)
	}
	late := v.writesOn(fork, inserts(t, "late"), nil)
	must(t, v.bring(o, late))
	eventually(t, "the branch goes on", func() bool { return has(t, o, "late") })
	sameEverywhere(t, o, n)
	return fmt.Sprintf("A fork of %d bytes of a log of %d KB made %d bytes travel to a peer that had the log (at most three times); both branches count everywhere, and the history was cut off.", size, whole.bytes>>10, travelled)
}

func writerClock(t *testing.T) string {
	o, n, v := scene(t, "writer")
	docs := inserts(t, names("ahead ", 50)...)
	for i := range 50 {
		must(t, v.bring(o, v.writes(docs[i:i+1], func(h *format.Header) {
			h.Time = max(clock.At(time.Now().Add(clock.MaxAhead)), v.ownData.time+1)
		})))
		insert(t, o, names(fmt.Sprint("in time ", i, " "), 4)...)
	}
	sameEverywhere(t, o, n)
	if c := count(t, n); c != 250 {
		t.Errorf("%d documents", c)
	}
	v.catchUp(o)
	logs := map[clock.LogID]bool{}
	var last clock.Time
	for _, run := range v.runs {
		d, err := format.DecodeDescriptor(run.Descriptor)
		must(t, err)
		if d.Device != o.Device() || d.Kind != format.KindData {
			continue
		}
		for _, rec := range run.Records {
			h, err := format.DecodeHeader(rec.Header)
			must(t, err)
			logs[h.Log], last = true, max(last, h.Time)
		}
	}
	ahead := time.Until(last.Wall())
	if len(logs) != 1 || ahead > clock.MaxAhead+clock.Slack {
		t.Errorf("the owner has %d logs, its last record is %v ahead", len(logs), ahead)
	}
	return fmt.Sprintf("The owner's 200 writes among them went into one log and counted everywhere; its records were dated %.0f minutes ahead.", ahead.Minutes())
}

// names returns n names.
func names(prefix string, n int) (all []string) {
	for i := range n {
		all = append(all, fmt.Sprint(prefix, i))
	}
	return all
}

func writerClockBeyond(t *testing.T) string {
	o, n, v := scene(t, "writer")
	docs := inserts(t, "now", "in an hour", "in a century")
	must(t, v.bring(o, v.writes(docs[:1], nil)))
	must(t, v.bring(o, v.writes(docs[1:2], func(h *format.Header) { h.Time = clock.At(time.Now().Add(time.Hour)) })))
	must(t, v.bring(o, v.writes(docs[2:], func(h *format.Header) { h.Time = clock.At(time.Now().Add(100 * 365 * 24 * time.Hour)) })))
	insert(t, o, "of o")
	eventually(t, "the other has what counts", func() bool { return has(t, n, "of o") && has(t, n, "now") })
	for _, at := range []*node.Node{o, n} {
		if has(t, at, "in an hour") || has(t, at, "in a century") {
			t.Error("the future counts")
		}
	}
	beyond := v.writes(docs[:1], func(h *format.Header) { h.Time = clock.MaxTime + 1 })
	log := v.ownData.desc.LogID(v.id).String()
	before := info(t, o).Heads[log]
	must(t, v.bring(o, beyond))
	if got := info(t, o).Heads[log]; got != before || before != 3 {
		t.Errorf("a record of the year 10000 is kept: %d of the log, %d before", got, before)
	}
	insert(t, o, "again")
	for _, at := range []*node.Node{o, n} {
		eventually(t, "others go on", func() bool { return has(t, at, "again") })
	}
	return "Neither counted; the honest went on. What is dated beyond the year 9999 was not kept."
}

func writerEquivocates(t *testing.T) string {
	o, n, v := scene(t, "writer")
	docs := inserts(t, "to o", "to n")
	fork := v.ownData.copy()
	a, b := v.writes(docs[:1], nil), v.writesOn(fork, docs[1:], nil)
	must(t, v.bring(o, a))
	must(t, v.bring(n, b))
	for _, at := range []*node.Node{o, n} {
		eventually(t, "both have both", func() bool { return has(t, at, "to o") && has(t, at, "to n") })
	}
	sameEverywhere(t, o, n)
	return "Both came to have both branches, and the same state."
}

func writerFloods(t *testing.T) string {
	o, n, v := scene(t, "writer")
	before := info(t, o).Bytes
	start := time.Now()
	for range massRecords / 8 {
		must(t, v.bring(o, v.writes(bulk(t, 8, 900<<10)[:1], nil)))
		for range 7 {
			must(t, v.bring(o, v.writes(bulk(t, 1, 900<<10), nil)))
		}
	}
	took := time.Since(start)
	size := info(t, o).Bytes - before
	insert(t, o, "meanwhile")
	sameEverywhere(t, o, n)
	if !has(t, n, "meanwhile") || size < massRecords*800<<10 {
		t.Errorf("%d bytes were stored", size)
	}
	return fmt.Sprintf("%d MB were stored at everybody, in %.1f s; who wrote one document meanwhile was heard.", size>>20, took.Seconds())
}

func writerForges(t *testing.T) string {
	o, n, v := scene(t, "writer")
	insert(t, o, "of o")
	v.catchUp(o)
	var owners format.Run
	for _, run := range v.runs {
		if d, err := format.DecodeDescriptor(run.Descriptor); err == nil && d.Device == o.Device() && d.Kind == format.KindData {
			owners = run
		}
	}
	d, err := format.DecodeDescriptor(owners.Descriptor)
	must(t, err)
	last, err := owners.Last(v.id)
	must(t, err)
	docs := inserts(t, "forged 1", "forged 2")
	theirs := &chain{desc: d, seq: last.Seq, prev: last.Hash}
	inTheirs := v.writesOn(theirs, docs[:1], nil)
	before := count(t, o)
	must(t, v.bring(o, inTheirs))
	two := v.writesOn(v.ownData.copy(), docs, nil)
	two.Records[0].Body, two.Records[1].Body = two.Records[1].Body, two.Records[0].Body
	must(t, v.bring(o, two))
	// Of another database, where it may write.
	elsewhere := newVillainOf(t, v.identity, keys.CertifyOptions{})
	elsewhere.device = v.device
	elsewhere.id, elsewhere.genesis, elsewhere.keys = v.id, v.genesis, v.keys
	elsewhere.id[5] ^= 1
	moved := elsewhere.run(v.ownData.copy(), elsewhere.forge(v.ownData.copy(), v.keys.Service, docs[0], nil))
	if err := v.bring(o, moved); err != nil && !errors.Is(err, errBanned) {
		t.Fatal(err)
	}
	eventually(t, "it is disconnected", func() bool { return v.h.Network().Connectedness(o.Peer()) != network.Connected })
	if err := v.bring(o, v.writes(docs[:1], nil)); !errors.Is(err, errBanned) {
		t.Errorf("it is listened to after three faults: %v", err)
	}
	insert(t, o, "on")
	sameEverywhere(t, o, n)
	if after := count(t, n); after != before+1 || has(t, n, "forged 1") || has(t, n, "forged 2") {
		t.Errorf("%d documents, %d before", after, before)
	}
	return "Nothing of it was stored; after three faults it was disconnected, and not listened to for five minutes."
}

func writerBlobs(t *testing.T) string {
	o, n, v := scene(t, "writer")
	v.mu.Lock()
	v.blobs = func(w *wire.Writer, r *bufio.Reader) {
		id := bytes.Repeat([]byte{7}, 32)
		if w.Send(wire.BlobRefs{Last: 1, Blobs: []wire.BlobRef{{ID: id, Size: 1000}}}) != nil {
			return
		}
		for {
			if _, _, err := wire.Read(r); err != nil || w.SendBlob(id, make([]byte, 1000)) != nil {
				return
			}
		}
	}
	v.mu.Unlock()
	must(t, v.h.Network().ClosePeer(o.Peer())) // streams of blobs begin again
	if err := v.bring(o); err != nil && !errors.Is(err, errBanned) {
		t.Fatal(err)
	}
	eventually(t, "it is disconnected", func() bool { return v.h.Network().Connectedness(o.Peer()) != network.Connected })
	insert(t, o, "on")
	sameEverywhere(t, o, n)
	return "None was kept; after three it was disconnected."
}

func writerInvents(t *testing.T) string {
	o, n, v := scene(t, "writer")
	docs := inserts(t, "good", "naming", "after")
	must(t, v.bring(o, v.writes(docs[:1], nil)))
	must(t, v.bring(o, v.writes(docs[1:2], func(h *format.Header) { h.Control = []clock.Hash{{9}} })))
	must(t, v.bring(o, v.writes(docs[2:], nil)))
	c := v.ownControl.copy()
	must(t, v.bring(o, v.sayOn(c, &format.Control{Op: format.OpLog, Data: v.newDescriptor()}, func(h *format.Header) { h.Control = []clock.Hash{{8}} })))
	insert(t, o, "of o")
	insert(t, n, "of n")
	for _, at := range []*node.Node{o, n} {
		eventually(t, "the honest go on", func() bool { return has(t, at, "of o") && has(t, at, "of n") && has(t, at, "good") })
		if has(t, at, "naming") || has(t, at, "after") {
			t.Error("a record counts that names what nobody has")
		}
	}
	y := newMember(t, o)
	insert(t, y, "of y")
	eventually(t, "a new member writes", func() bool { return has(t, o, "of y") })
	return "Its own records wait, for ever; nobody else's did, and a new member joined."
}

func (v *villain) newDescriptor() []byte {
	d := format.NewDescriptor(v.sign(), format.KindData, v.ownControl.desc.LogID(v.id))
	return d.Encode()
}

func writerMalformed(t *testing.T) string {
	o, n, v := scene(t, "writer")
	must(t, v.bring(o, v.writes([][]byte{{}, []byte("no transaction"), bytes.Repeat([]byte{0xff}, 1000)}, nil)))
	wrong := v.forge(v.ownData, format.NewSecretKey(), inserts(t, "unread")[0], nil)
	must(t, v.bring(o, v.run(v.ownData, wrong)))
	must(t, v.bring(o, v.writes(inserts(t, "good"), nil)))
	insert(t, o, "of o")
	sameEverywhere(t, o, n)
	for _, at := range []*node.Node{o, n} {
		if !has(t, at, "good") || !has(t, at, "of o") || has(t, at, "unread") {
			t.Error("not what it should be")
		}
	}
	return "Kept, without effect, the same at everybody; what it wrote after them counted, and everybody went on."
}

func writerForksControl(t *testing.T) string {
	o, n, v := scene(t, "writer")
	base := v.ownControl.copy()
	heads := v.heads()
	const branches = massBranches
	var runs []format.Run
	for i := range branches {
		runs = append(runs, v.sayOn(base.copy(), &format.Control{Op: format.OpAdmit}, func(h *format.Header) { h.Control, h.Time = heads, v.latest()+1+clock.Time(i) }))
	}
	var took [2]time.Duration
	for i, part := range [][]format.Run{runs[:branches/2], runs[branches/2:]} {
		start := time.Now()
		must(t, v.bring(o, part...))
		took[i] = time.Since(start)
	}
	insert(t, o, "of o")
	sameEverywhere(t, o, n)
	v.mu.Lock()
	acks := v.acks
	v.mu.Unlock()
	return fmt.Sprintf("None had effect. %d branches of %d KB took %.1f s for the first half and %.1f s for the second, and were answered by %d KB of acknowledgements; everybody went on.",
		branches, branches*len(format.EncodeRun(runs[0]))>>10, took[0].Seconds(), took[1].Seconds(), acks>>10)
}

func writerSilent(t *testing.T) string {
	o, n, v := scene(t, "writer")
	var held []network.Stream
	for i := range 64 {
		p := protoThread
		if i%8 == 0 {
			p = protoSession
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		s, err := v.h.NewStream(ctx, o.Peer(), p)
		cancel()
		if err != nil {
			break
		}
		held = append(held, s)
		if p == protoThread {
			_ = wire.NewWriter(s).Send(wire.Subscribe{Version: wire.Version, Thread: v.id[:]})
		}
	}
	insert(t, o, "of o")
	insert(t, n, "of n")
	sameEverywhere(t, o, n)
	if !has(t, o, "of n") || !has(t, n, "of o") {
		t.Error("the others wait")
	}
	for _, s := range held {
		_ = s.Reset()
	}
	return "The others wrote and heard of each other meanwhile."
}
