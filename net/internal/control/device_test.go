package control

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/net/internal/format"
)

// What begins a log without a right to is kept by nobody: a start by another device, by what
// adds none, or that does not name it; a recover by a key that nothing commits to, that it
// has not seen the use of, or whose signature is of another log; a revocation by another
// identity; and nothing follows a revocation.
func TestFirstRecordsThatNobodyKeeps(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &controlWorld{t: t, thread: format.ThreadID{1}, logs: map[int][]*Record{}, ids: map[int]clock.LogID{}, clock: 100, owners: map[keys.PublicKey]*keys.Identity{}}
		ann, eve, key, next := keys.NewIdentity(), keys.NewIdentity(), keys.NewIdentity(), keys.NewIdentity()
		for i, id := range []*keys.Identity{ann, ann, eve} {
			d := keys.NewDevice()
			cert, err := id.Certify(d.Public(), keys.CertifyOptions{Issued: time.Unix(1, 0)})
			if err != nil {
				t.Fatal(err)
			}
			b, err := cert.Encode()
			if err != nil {
				t.Fatal(err)
			}
			if i == 0 {
				w.genesis = &format.Genesis{Owner: cert.Identity, Certificate: cert, Time: 1, Recovery: key.Public()}
			}
			w.devices, w.certs = append(w.devices, d), append(w.certs, b)
			desc := format.NewDescriptor(d.Public().Sign, format.KindControl, clock.LogID{})
			w.ids[i] = desc.LogID(w.thread)
		}
		g := New(w.thread, w.genesis)
		write := func(device int, p *format.Control, first bool, parents ...clock.Hash) *Record {
			w.clock++
			c := &Record{Device: w.devices[device].Public().Sign, Time: w.clock, Parents: parents, Payload: p}
			c.ID = clock.RecordID{Log: w.ids[device], Seq: 2, Hash: clock.Hash{byte(w.clock), byte(device)}}
			if first {
				c.ID.Seq = 1
			}
			return c
		}
		keep := func(c *Record) clock.Hash {
			t.Helper()
			if err := g.Check(c); err != nil {
				t.Fatalf("%s: %v", c.Payload.Op, err)
			}
			g.Add(c)
			return c.ID.Hash
		}
		refuse := func(what string, c *Record) {
			t.Helper()
			if g.Check(c) == nil {
				t.Fatalf("%s is kept", what)
			}
		}
		recover := func(device int, by *keys.Identity, signs *keys.Identity, log clock.LogID, parents ...clock.Hash) *Record {
			p := &format.Control{Op: format.OpRecover, Certificate: w.certs[device], Data: w.data(device), Key: by.Public(), Next: next.Public()}
			p.SignRecover(w.thread, log, signs)
			return write(device, p, true, parents...)
		}
		open := keep(write(0, &format.Control{Op: format.OpOpen}, true))
		added := keep(write(0, &format.Control{Op: format.OpDevice, Certificate: w.certs[1], Subject: w.certified(1).Sign}, false, open))
		start := func(device int, by clock.Hash, parents ...clock.Hash) *Record {
			return write(device, &format.Control{Op: format.OpStart, Added: by, Data: w.data(device)}, true, parents...)
		}
		refuse("a start by another device", start(2, added, added))
		refuse("a start by what adds no device", start(1, open, open))
		refuse("a start that does not name its record", start(1, added, open))
		refuse("a device record with no certificate", write(0, &format.Control{Op: format.OpDevice, Certificate: []byte("x")}, false, open))
		refuse("a recover by a key of nobody's", recover(2, eve, eve, w.ids[2], open))
		refuse("a recover that the key has not signed", recover(2, key, eve, w.ids[2], open))
		refuse("a recover of another log", recover(2, key, key, w.ids[1], open))
		refuse("a recover by a key to come", recover(2, next, next, w.ids[2], open))
		revoke := func(by *keys.Identity, parents ...clock.Hash) *Record {
			c := write(0, &format.Control{Op: format.OpRevoke, Subject: w.certified(1).Sign}, true, parents...)
			desc := format.NewDescriptor(by.Public(), format.KindControl, clock.LogID{})
			c.Device, c.ID.Log = by.Public(), desc.LogID(w.thread)
			return c
		}
		refuse("a revocation by another identity", revoke(eve, added))
		refuse("a revocation of what it has not seen", revoke(ann, open))
		used := keep(recover(2, key, key, w.ids[2], added))
		r := revoke(ann, added)
		h := keep(r)
		after := write(0, &format.Control{Op: format.OpLog, Data: w.data(0)}, false, h)
		after.Device, after.ID.Log = r.Device, r.ID.Log
		refuse("what follows a revocation", after)
		begun := keep(start(1, added, added))
		if v := g.State().verdict(g.index[begun]); v != cutOff {
			t.Fatalf("a start that the revocation has not seen: got %v", v)
		}
		w.ids[1] = clock.LogID{9} // another log of the same device
		refuse("a recover by the next key, of another log", recover(1, next, next, clock.LogID{8}, used))
		keep(recover(1, next, next, w.ids[1], used))
		if got := g.State().Recovery; len(got.Used) != 2 || got.Owner != ann.Public() {
			t.Fatalf("got %+v", got)
		}
	})
}
