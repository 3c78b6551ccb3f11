package thread

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/crypto/chacha20poly1305"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/net/internal/format"
)

// A forger makes records by hand: of a log and with keys of its choice.
type forger struct {
	th     *Thread
	device *keys.Device
	desc   format.Descriptor
	seq    uint64
	prev   clock.Hash
	time   clock.Time
}

// forgerOf continues the log of a member.
func forgerOf(th *Thread) *forger {
	b := th.ownData.Branches[0]
	return &forger{th: th, device: th.env.device, desc: th.ownData.Desc, seq: b.Tip.Seq, prev: b.Tip.Hash, time: b.Time}
}

func (f *forger) header() *format.Header {
	return &format.Header{
		Log: f.desc.LogID(f.th.id), Seq: f.seq + 1, Prev: f.prev, Time: f.time + 1,
		Control: f.th.graph.Named(), Epochs: f.th.firstEpoch(),
	}
}

// record makes the next record; change alters the header before it is hashed.
func (f *forger) record(t testing.TB, secret format.SecretKey, payload string, change func(*format.Header)) format.Record {
	t.Helper()
	h := f.header()
	body, root, err := f.th.env.sealer.Seal(secret, format.Position{Thread: f.th.id, Log: h.Log, Seq: h.Seq}, &format.Plaintext{Payload: []byte(payload)})
	if err != nil {
		t.Fatal(err)
	}
	h.Root = root
	if change != nil {
		change(h)
	}
	return f.take(format.Record{Header: h.Encode(), Body: body}, h)
}

func (f *forger) take(r format.Record, h *format.Header) format.Record {
	f.seq, f.prev, f.time = h.Seq, format.RecordHash(f.th.id, r.Header), h.Time
	return r
}

func (f *forger) run(records ...format.Record) format.Run {
	last := format.RecordHash(f.th.id, records[len(records)-1].Header)
	return format.Run{Descriptor: f.desc.Encode(), Records: records, Signature: f.device.Sign(format.DomainHead, f.th.id[:], last[:])}
}

// twoMembers returns a thread at its owner and at another member, who has written.
func twoMembers(t testing.TB) (to, from *Thread, toNode, fromNode *testNode) {
	t.Helper()
	toNode, fromNode = newMemoryNode(t), newMemoryNode(t)
	to = toNode.create(t)
	from = fromNode.join(t, to, toNode.invite(t, to, InviteOptions{}))
	fromNode.write(t, from, "good")
	mustPull(t, to, from)
	return to, from, toNode, fromNode
}

func TestHostileRunsAreRefusedByName(t *testing.T) {
	for _, c := range []struct {
		name string
		want fault.Kind
		kept int // records of the run that stay
		make func(t *testing.T, f *forger, k format.SecretKey) format.Run
	}{
		{"swapped bodies", fault.WrongBody, 1, func(t *testing.T, f *forger, k format.SecretKey) format.Run {
			r := f.run(f.record(t, k, "a", nil), f.record(t, k, "b", nil), f.record(t, k, "c", nil))
			r.Records[1].Body, r.Records[2].Body = r.Records[2].Body, r.Records[1].Body
			return r
		}},
		{"reordered", fault.BrokenChain, 0, func(t *testing.T, f *forger, k format.SecretKey) format.Run {
			r := f.run(f.record(t, k, "a", nil), f.record(t, k, "b", nil), f.record(t, k, "c", nil))
			r.Records[0], r.Records[1] = r.Records[1], r.Records[0]
			return r
		}},
		{"left out", fault.Gap, 0, func(t *testing.T, f *forger, k format.SecretKey) format.Run {
			f.record(t, k, "a", nil)
			return f.run(f.record(t, k, "b", nil))
		}},
		{"forged signature", fault.BadSignature, 0, func(t *testing.T, f *forger, k format.SecretKey) format.Run {
			r := f.run(f.record(t, k, "a", nil))
			r.Signature[5] ^= 1
			return r
		}},
		{"signed by another", fault.BadSignature, 0, func(t *testing.T, f *forger, k format.SecretKey) format.Run {
			f.device = keys.NewDevice()
			return f.run(f.record(t, k, "a", nil))
		}},
		{"signature of another record", fault.BadSignature, 0, func(t *testing.T, f *forger, k format.SecretKey) format.Run {
			first := f.record(t, k, "a", nil)
			r := f.run(first)
			r.Records = append(r.Records, f.record(t, k, "b", nil))
			return r
		}},
		{"writer who is no member", fault.NotMember, 0, func(t *testing.T, f *forger, k format.SecretKey) format.Run {
			f.device = keys.NewDevice()
			f.desc, f.seq, f.prev = format.NewDescriptor(f.device.Public().Sign, format.KindData, f.th.ownControl.ID), 0, clock.Hash{}
			return f.run(f.record(t, k, "a", nil))
		}},
		{"log that its member did not announce", fault.NotMember, 0, func(t *testing.T, f *forger, k format.SecretKey) format.Run {
			f.desc, f.seq, f.prev = format.NewDescriptor(f.device.Public().Sign, format.KindData, f.th.ownControl.ID), 0, clock.Hash{}
			return f.run(f.record(t, k, "a", nil))
		}},
		{"another's log", fault.BrokenChain, 0, func(t *testing.T, f *forger, k format.SecretKey) format.Run {
			r := f.run(f.record(t, k, "a", nil))
			r.Descriptor = (&format.Descriptor{Device: keys.NewDevice().Public().Sign, Kind: format.KindData}).Encode()
			return r
		}},
		{"time goes back", fault.BadClock, 1, func(t *testing.T, f *forger, k format.SecretKey) format.Run {
			return f.run(f.record(t, k, "a", nil), f.record(t, k, "b", func(h *format.Header) { h.Time -= 5 }))
		}},
		{"unknown critical extension", fault.UnknownExtension, 1, func(t *testing.T, f *forger, k format.SecretKey) format.Run {
			return f.run(f.record(t, k, "a", nil), f.record(t, k, "b", func(h *format.Header) { h.Extensions = []format.Extension{{ID: 9, Critical: true}} }))
		}},
		{"header of another version", fault.UnknownVersion, 0, func(t *testing.T, f *forger, k format.SecretKey) format.Run {
			r := f.run(f.record(t, k, "a", nil))
			r.Records[0].Header[1] = 2
			return r
		}},
		{"header too large", fault.TooLarge, 0, func(t *testing.T, f *forger, k format.SecretKey) format.Run {
			return f.run(f.record(t, k, "a", func(h *format.Header) {
				h.Extensions = []format.Extension{{ID: 9, Data: make([]byte, format.MaxHeader)}}
			}))
		}},
		{"no records", fault.Malformed, 0, func(_ *testing.T, f *forger, _ format.SecretKey) format.Run {
			return format.Run{Descriptor: f.desc.Encode()}
		}},
		{"no descriptor", fault.Malformed, 0, func(t *testing.T, f *forger, k format.SecretKey) format.Run {
			r := f.run(f.record(t, k, "a", nil))
			r.Descriptor = nil
			return r
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			to, from, toNode, _ := twoMembers(t)
			relay := toNodeRelay(t, to)
			before, wantHeads := to.Counts().Records, relay.Counts().Records
			r := c.make(t, forgerOf(from), readKey(t, from))
			for _, th := range []*Thread{to, relay} {
				res, err := th.Ingest(t.Context(), r)
				var rej *Rejection
				if !errors.As(err, &rej) || rej.Kind() != c.want || res.Stored != c.kept {
					t.Fatalf("got %+v, %v, want %s and %d kept", res, err, c.want, c.kept)
				}
			}
			if got := to.Counts().Records - before; got != int64(c.kept) {
				t.Fatalf("got %d new records", got)
			}
			if got := relay.Counts().Records - wantHeads; got != int64(c.kept) {
				t.Fatalf("relay: got %d new records", got)
			}
			toNode.write(t, to, "after") // the rest goes on
			mustPull(t, relay, to)
		})
	}
}

func toNodeRelay(t testing.TB, from *Thread) *Thread {
	t.Helper()
	r := newMemoryNode(t).adopt(t, from)
	mustPull(t, r, from)
	return r
}

// What only a reader of the thread can see is kept, listed and without effect, and
// the log goes on: every member comes to the same.
func TestBodiesThatDoNotOpenAreListed(t *testing.T) {
	for _, c := range []struct {
		name string
		want fault.Kind
		make func(t *testing.T, f *forger, k format.SecretKey) format.Record
	}{
		{"wrong key", fault.WrongKey, func(t *testing.T, f *forger, k format.SecretKey) format.Record {
			k[0] ^= 1
			return f.record(t, k, "a", nil)
		}},
		{"replayed body", fault.WrongKey, func(t *testing.T, f *forger, k format.SecretKey) format.Record {
			h := f.header()
			body, root, err := f.th.env.sealer.Seal(k, format.Position{Thread: f.th.id, Log: h.Log, Seq: h.Seq - 1}, &format.Plaintext{Payload: []byte("a")})
			if err != nil {
				t.Fatal(err)
			}
			h.Root = root
			return f.take(format.Record{Header: h.Encode(), Body: body}, h)
		}},
		{"altered piece", fault.Altered, func(t *testing.T, f *forger, k format.SecretKey) format.Record {
			return f.altered(t, k, func(body []byte) []byte { body[len(body)-1] ^= 1; return body })
		}},
		{"bomb", fault.Bomb, func(t *testing.T, f *forger, k format.SecretKey) format.Record {
			return f.altered(t, k, func([]byte) []byte {
				return sealedBomb(t, k, format.Position{Thread: f.th.id, Log: f.desc.LogID(f.th.id), Seq: f.seq + 1}, 100)
			})
		}},
		{"not later than its control heads", fault.BadClock, func(t *testing.T, f *forger, k format.SecretKey) format.Record {
			if _, err := f.th.appendControl(t.Context(), &format.Control{Op: format.OpLog, Data: f.descriptorOfAnother()}); err != nil {
				t.Fatal(err)
			}
			return f.record(t, k, "a", nil)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			to, from, _, _ := twoMembers(t)
			relay := toNodeRelay(t, to)
			f := forgerOf(from)
			bad := c.make(t, f, readKey(t, from))
			f.time = max(f.time, from.env.clock.Now())
			r := f.run(bad, f.record(t, readKey(t, from), "after", nil))
			for _, th := range []*Thread{to, relay} {
				mustPull(t, th, from)
				if res, err := th.Ingest(t.Context(), r); err != nil || res.Stored != 2 {
					t.Fatalf("got %+v, %v", res, err)
				}
			}
			wantPayloads(t, to, "good", "after")
			got := to.Refused()
			if len(got) != 1 || got[0].Kind != c.want {
				t.Fatalf("got %+v, want %s", got, c.want)
			}
			again, err := Open(t.Context(), to.env, to.ID())
			if err != nil {
				t.Fatal(err)
			}
			opened(t, again)
			if !slices.Equal(again.Refused(), got) {
				t.Fatalf("got %+v after reopening, want %+v", again.Refused(), got)
			}
			if tip := f.prev; !slices.ContainsFunc(again.ackable(), func(id clock.RecordID) bool { return id.Hash == tip }) {
				t.Fatal("the head is not acknowledged")
			}
		})
	}
}

func (f *forger) descriptorOfAnother() []byte {
	d := format.NewDescriptor(f.device.Public().Sign, format.KindData, f.th.ownControl.ID)
	return d.Encode()
}

func (f *forger) altered(t testing.TB, k format.SecretKey, change func([]byte) []byte) format.Record {
	t.Helper()
	h := f.header()
	body, _, err := f.th.env.sealer.Seal(k, format.Position{Thread: f.th.id, Log: h.Log, Seq: h.Seq}, &format.Plaintext{Payload: bytes.Repeat([]byte("a"), 300)})
	if err != nil {
		t.Fatal(err)
	}
	body = change(body)
	b, err := format.ParseBody(body)
	if err != nil {
		t.Fatal(err)
	}
	h.Root = b.Root()
	return f.take(format.Record{Header: h.Encode(), Body: body}, h)
}

func TestReplayedRunsAreSkipped(t *testing.T) {
	to, from, _, fromNode := twoMembers(t)
	fromNode.write(t, from, "one", "two")
	r, err := from.ReadRun(from.ownData.Branches[0].Tip, 0, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []Ingested{{Stored: 2, Held: 1}, {Held: 3}} {
		if res, err := to.Ingest(t.Context(), r); err != nil || res != want {
			t.Fatalf("time %d: got %+v, %v, want %+v", i, res, err, want)
		}
	}
	wantPayloads(t, to, "good", "one", "two")
}

func TestWaitingIsListedAndEnds(t *testing.T) {
	to, from, _, fromNode := twoMembers(t)
	// A control record that the receiver lacks is named by data.
	if _, err := from.appendControl(t.Context(), &format.Control{Op: format.OpLog, Data: forgerOf(from).descriptorOfAnother()}); err != nil {
		t.Fatal(err)
	}
	fromNode.write(t, from, "new log")
	f := forgerOf(from)
	tip := from.ownData.Branches[0].Tip
	r, err := from.ReadRun(tip, 0, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if res, err := to.Ingest(t.Context(), r); err != nil || !res.Waiting || res.Stored != 0 {
		t.Fatalf("got %+v, %v of a log that is not announced yet", res, err)
	}
	ws, err := to.Waiting()
	if err != nil || len(ws) != 1 || ws[0].First != tip {
		t.Fatalf("got %+v, %v", ws, err)
	}
	mustPull(t, to, from)
	wantPayloads(t, to, "good", "new log")
	if ws, err := to.Waiting(); err != nil || len(ws) != 0 {
		t.Fatalf("got %+v, %v", ws, err)
	}
	// An unknown epoch.
	bad := f.record(t, readKey(t, from), "epoch", func(h *format.Header) { h.Epochs = []clock.Hash{{7}} })
	if res, err := to.Ingest(t.Context(), f.run(bad)); err != nil || !res.Waiting || res.Stored != 1 {
		t.Fatalf("got %+v, %v", res, err)
	}
	if ws, err := to.Waiting(); err != nil || len(ws) != 1 || ws[0].Count != 1 || !bytes.Contains([]byte(ws[0].Reason), []byte("epoch")) {
		t.Fatalf("got %+v, %v", ws, err)
	}
	wantPayloads(t, to, "good", "new log")
}

// A record from the future waits for its time, and is judged when that has come.
func TestClockAheadWaits(t *testing.T) {
	to, from, _, _ := twoMembers(t)
	f := forgerOf(from)
	f.time = clock.At(time.Now().Add(clock.MaxAhead + 100*time.Millisecond))
	if res, err := to.Ingest(t.Context(), f.run(f.record(t, readKey(t, from), "early", nil))); err != nil || !res.Waiting {
		t.Fatalf("got %+v, %v", res, err)
	}
	wantPayloads(t, to, "good")
	for {
		changed := to.Changed()
		if got, err := to.Arrivals(to.flushedTo, 1); err != nil {
			t.Fatal(err)
		} else if len(got) > 0 {
			break
		}
		<-changed
	}
	wantPayloads(t, to, "good", "early")
}

// A record that only the state here refuses may have come through an honest relay,
// which could not judge it: that is no fault.
func TestOnlyWhatEverybodyCanSeeIsAFault(t *testing.T) {
	to, from, _, _ := twoMembers(t)
	f := forgerOf(from)
	b := from.ownControl.Branches[0]
	f.desc, f.seq, f.prev, f.time = from.ownControl.Desc, b.Tip.Seq, b.Tip.Hash, b.Time
	payload := string((&format.Control{Op: format.OpOpen, Name: "twice"}).Encode())
	_, err := to.Ingest(t.Context(), f.run(f.record(t, from.keys.Service, payload, nil)))
	if rej, ok := errors.AsType[*Rejection](err); !ok || rej.Kind() != fault.Malformed || rej.Hostile() {
		t.Errorf("got %v, want a refusal that is no fault", err)
	}
	r := f.run(f.record(t, from.keys.Service, payload, nil))
	r.Signature[0] ^= 1
	_, err = to.Ingest(t.Context(), r)
	if rej, ok := errors.AsType[*Rejection](err); !ok || !rej.Hostile() {
		t.Errorf("got %v, want a fault", err)
	}
}

// Flushed at the same arrival says that the state there changed.
func TestStateMayChangeWithoutArrival(t *testing.T) {
	n := newTestNode(t)
	th := n.create(t)
	n.write(t, th, "one")
	th.Flushed(1)
	changed := th.Changed()
	th.Flushed(1)
	select {
	case <-changed:
	default:
		t.Fatal("nobody was told")
	}
}

// sealedBomb seals, by the letter of docs/design.md, a piece that says that it is
// of a length and expands to 16 MiB.
func sealedBomb(t testing.TB, secret format.SecretKey, at format.Position, says uint64) []byte {
	t.Helper()
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	piece := enc.EncodeAll(make([]byte, 16<<20), binary.AppendUvarint([]byte{1}, says))
	salt := make([]byte, 24)
	info := binary.BigEndian.AppendUint64(slices.Concat([]byte("weft/1/seal\x00"), at.Thread[:], at.Log[:]), at.Seq)
	okm, err := hkdf.Key(sha256.New, secret[:], salt, string(info), 64)
	if err != nil {
		t.Fatal(err)
	}
	aead, err := chacha20poly1305.New(okm[:32])
	if err != nil {
		t.Fatal(err)
	}
	nonce := make([]byte, chacha20poly1305.NonceSize)
	nonce[11] = 1 // the last piece
	sealed := aead.Seal(nil, nonce, piece, nil)
	body := binary.BigEndian.AppendUint32(append(slices.Concat(salt, okm[32:]), 1), uint32(len(sealed)))
	return append(body, sealed...)
}

// readKey is the key of the epoch in which a member writes.
func readKey(t testing.TB, th *Thread) format.SecretKey {
	t.Helper()
	k, err := th.readKeys()
	if err != nil {
		t.Fatal(err)
	}
	read, ok := k.Read(k.Epochs)
	if !ok {
		t.Fatal("no key of the present epoch")
	}
	return read
}
