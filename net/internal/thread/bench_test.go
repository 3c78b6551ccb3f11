package thread

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"os"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/net/internal/format"
)

// cities returns n documents as BSON, and the size of their JSONL: the sample, as
// often as it takes, with other IDs each time.
func cities(b *testing.B, n int) (docs [][]byte, jsonl int) {
	b.Helper()
	f, err := os.Open("../../../testdata/cities-sample.jsonl.gz")
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		b.Fatal(err)
	}
	var lines [][]byte
	for s := bufio.NewScanner(z); s.Scan(); {
		lines = append(lines, bytes.Clone(s.Bytes()))
	}
	for i := range n {
		var d bson.D
		if err := bson.UnmarshalExtJSON(lines[i%len(lines)], false, &d); err != nil {
			b.Fatal(err)
		}
		d[0].Value = bson.NewObjectID().Hex()
		p, err := bson.Marshal(d)
		if err != nil {
			b.Fatal(err)
		}
		docs = append(docs, p)
		jsonl += len(lines[i%len(lines)]) + 1
	}
	return docs, jsonl
}

// batches joins documents to payloads of `size` documents.
func batches(docs [][]byte, size int) [][]byte {
	var all [][]byte
	for len(docs) > 0 {
		n := min(size, len(docs))
		all = append(all, bytes.Join(docs[:n], nil))
		docs = docs[n:]
	}
	return all
}

func appendOne(b *testing.B, n *testNode, th *Thread, payloads ...[]byte) {
	drafts := make([]Draft, len(payloads))
	for i, p := range payloads {
		drafts[i] = Draft{Time: n.env.clock.Now(), Payload: p}
	}
	tx := n.env.store.Begin()
	_, first, done, err := th.Append(tx, drafts)
	if err != nil {
		b.Fatal(err)
	}
	err = tx.Commit()
	done(err == nil)
	if err != nil {
		b.Fatal(err)
	}
	th.Flushed(first + int64(len(drafts)) - 1)
}

func benchmarkAppend(b *testing.B, size int, sync bool) {
	docs, _ := cities(b, max(2000, size))
	payloads := batches(docs, size)
	n := newTestNode(b)
	th := n.create(b)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		appendOne(b, n, th, payloads[i%len(payloads)])
		if i++; sync {
			if err := n.env.store.Sync(); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(i*size)/b.Elapsed().Seconds(), "docs/s")
}

func BenchmarkAppendSingle(b *testing.B)       { benchmarkAppend(b, 1, false) }
func BenchmarkAppendSingleSynced(b *testing.B) { benchmarkAppend(b, 1, true) }
func BenchmarkAppend1000(b *testing.B)         { benchmarkAppend(b, 1000, false) }
func BenchmarkAppend1000Synced(b *testing.B)   { benchmarkAppend(b, 1000, true) }

// benchmarkCatchUp ingests a whole log of records of `size` documents and reads its
// arrivals.
func benchmarkCatchUp(b *testing.B, count, size int) {
	docs, jsonl := cities(b, count)
	n := newTestNode(b)
	th := n.create(b)
	for p := batches(docs, size); len(p) > 0; {
		k := min(len(p), max(1, 64/size))
		appendOne(b, n, th, p[:k]...)
		p = p[k:]
	}
	inv, err := th.CreateInvite(b.Context(), InviteOptions{Uses: -1})
	if err != nil {
		b.Fatal(err)
	}
	received := 0
	for b.Loop() {
		b.StopTimer()
		m := newTestNode(b)
		to := m.join(b, th, inv)
		tip := th.ownData.Branches[0].Tip
		b.StartTimer()
		received = 0
		for after := uint64(0); after < tip.Seq; {
			r, err := th.ReadRun(tip, after, 1<<20)
			if err != nil {
				b.Fatal(err)
			}
			p := format.EncodeRun(r)
			received += len(p)
			if r, err = format.DecodeRun(p); err != nil {
				b.Fatal(err)
			}
			if _, err := to.Ingest(b.Context(), r); err != nil {
				b.Fatal(err)
			}
			after += uint64(len(r.Records))
			for {
				got, err := to.Arrivals(to.flushedTo, 1<<20)
				if err != nil {
					b.Fatal(err)
				}
				if len(got) == 0 {
					break
				}
				to.Flushed(got[len(got)-1].N)
			}
		}
		b.StopTimer()
		to.Close()
		b.StartTimer()
	}
	b.ReportMetric(float64(count*b.N)/b.Elapsed().Seconds(), "docs/s")
	b.ReportMetric(float64(received)/float64(jsonl), "received/jsonl")
	b.ReportMetric(0, "ns/op")
}

func BenchmarkCatchUp1000(b *testing.B)   { benchmarkCatchUp(b, 135_000, 1000) }
func BenchmarkCatchUpSingle(b *testing.B) { benchmarkCatchUp(b, 20_000, 1) }

func BenchmarkSeal1000(b *testing.B) {
	docs, _ := cities(b, 1000)
	p := &format.Plaintext{Payload: bytes.Join(docs, nil)}
	c, err := format.NewSealer()
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	size := 0
	b.SetBytes(int64(len(p.Payload)))
	for b.Loop() {
		body, _, err := c.Seal(format.SecretKey{}, format.Position{}, p)
		if err != nil {
			b.Fatal(err)
		}
		size = len(body)
	}
	b.ReportMetric(1000*float64(b.N)/b.Elapsed().Seconds(), "docs/s")
	b.ReportMetric(float64(size)/float64(len(p.Payload)), "sealed/plain")
}

func BenchmarkOpenThread(b *testing.B) {
	docs, _ := cities(b, 2000)
	n := newTestNode(b)
	th := n.create(b)
	for i := 0; i < 50_000; i += 100 {
		appendOne(b, n, th, docs[i%1900:i%1900+100]...)
	}
	last := th.lastArrival()
	th.Close()
	for b.Loop() {
		again, err := Open(b.Context(), n.env, th.ID())
		if err != nil {
			b.Fatal(err)
		}
		again.Flushed(last)
		again.Close()
	}
}

// BenchmarkOpenControl10000 opens a thread of 10,000 control records.
func BenchmarkOpenControl10000(b *testing.B) {
	n := newTestNode(b)
	th := n.create(b)
	for range 10_000 {
		if _, err := th.CreateInvite(b.Context(), InviteOptions{}); err != nil {
			b.Fatal(err)
		}
	}
	th.Close()
	b.ResetTimer()
	for b.Loop() {
		again, err := Open(b.Context(), n.env, th.ID())
		if err != nil {
			b.Fatal(err)
		}
		again.Close()
	}
}

// A rotation for 100 members of three devices each: one record of at most 64 KB.
func BenchmarkRotation300(b *testing.B) {
	o := newMemoryNode(b)
	to := o.create(b)
	inv := o.invite(b, to, InviteOptions{Uses: -1})
	id, err := format.InviteIdentity(inv)
	if err != nil {
		b.Fatal(err)
	}
	for range 100 {
		member := keys.NewIdentity()
		for range 3 {
			joinBare(b, to, id, member)
		}
	}
	b.ResetTimer()
	for b.Loop() {
		if err := to.Rotate(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	snap := to.env.store.Snapshot()
	defer snap.Release()
	s, err := to.rows.Record(snap, to.ownControl.Num, to.ownControl.Top())
	if err != nil {
		b.Fatal(err)
	}
	if len(to.Members()) != 301 || s.Size() > 64<<10 {
		b.Fatalf("%d members, a record of %d bytes", len(to.Members()), s.Size())
	}
	b.ReportMetric(float64(s.Size()), "B/record")
}

// joinBare takes in the join of a new device of an identity, made with the invite's secret.
func joinBare(b testing.TB, to *Thread, invite, member *keys.Identity) {
	b.Helper()
	device := keys.NewDevice()
	cert, err := member.Certify(device.Public(), keys.CertifyOptions{Issued: time.Now()})
	if err != nil {
		b.Fatal(err)
	}
	encoded, err := cert.Encode()
	if err != nil {
		b.Fatal(err)
	}
	rec := to.graph.InvitesOf(invite.Public())[0]
	d := format.NewDescriptor(device.Public().Sign, format.KindControl, clock.LogID{})
	log := d.LogID(to.id)
	data := format.NewDescriptor(device.Public().Sign, format.KindData, log)
	p := &format.Control{Op: format.OpJoin, Invite: rec.ID.Hash, Certificate: encoded, Data: data.Encode()}
	p.Signature = invite.Sign(format.DomainJoin, to.id[:], log[:], encoded, p.Data)
	h := &format.Header{Log: log, Seq: 1, Epochs: to.firstEpoch(), Control: []clock.Hash{rec.ID.Hash}, Time: rec.Time + 1}
	sealed, err := to.sealRecord(to.keys.Service, h, &format.Plaintext{Payload: p.Encode()}, true)
	if err != nil {
		b.Fatal(err)
	}
	st, err := format.DecodeStored(sealed.value)
	if err != nil {
		b.Fatal(err)
	}
	r := format.Run{Descriptor: d.Encode(), Records: []format.Record{st.Record}, Signature: device.Sign(format.DomainHead, to.id[:], sealed.id.Hash[:])}
	if _, err := to.Ingest(b.Context(), r); err != nil {
		b.Fatal(err)
	}
}

// What it costs to see that a record's writer may write, in a thread with removals.
func BenchmarkMembershipCheck(b *testing.B) {
	c := newClub(b, 3)
	o := c.threads[0]
	if err := o.RemoveMember(b.Context(), c.identity(2)); err != nil {
		b.Fatal(err)
	}
	if err := o.SetRole(b.Context(), c.identity(1), format.RoleAdmin); err != nil {
		b.Fatal(err)
	}
	c.meet(b, 0, 1, 3)
	c.write(b, 1, "one")
	c.meet(b, 0, 1, 3)
	l := o.logs[c.threads[1].ownData.ID]
	snap := o.env.store.Snapshot()
	defer snap.Release()
	s, err := o.rows.Record(snap, l.Num, l.Branches[0].Tip)
	if err != nil {
		b.Fatal(err)
	}
	r, err := o.reopen(l, l.Branches[0].Tip, s)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		wait, refuse := o.judgeData(r)
		if wait != "" || refuse != nil || o.limitOf(l).void.Has(r.ID) {
			b.Fatal(wait, refuse)
		}
		if _, ok := o.Writer(r.ID); !ok {
			b.Fatal("nobody")
		}
	}
}
