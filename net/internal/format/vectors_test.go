package format

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/vectors"
	"github.com/weftdb/weft/keys"
)

// fixedKeys are those of a thread with two epochs, under both of which is written.
func fixedKeys() Keys {
	k := FirstKeys(fill[ThreadID](1), fill[SecretKey](2), fill[SecretKey](3))
	k = k.With(fill[clock.Hash](4), fill[SecretKey](5))
	return k.Under([]clock.Hash{fill[clock.Hash](1), fill[clock.Hash](4)})
}

// A cast is who acts in the vectors: an owner with a device, and a thread that it makes.
type cast struct {
	owner  *keys.Identity
	device *keys.Device
	secret []byte // of the device
	cert   *keys.Certificate
	proxy  *keys.Delegation // of the same device
	signed []byte           // genesis
	thread ThreadID
	keys   Keys
	invite Invite
	opens  *keys.Identity // the invite's secret
}

func newCast(t testing.TB) *cast {
	t.Helper()
	seed, seal := fill[[32]byte](1), fill[[32]byte](3)
	sign := fill[[32]byte](2)
	c := &cast{secret: append(sign[:], seal[:]...)}
	ids, err1 := keys.SecretOf(seed[:])
	devs, err2 := keys.SecretOf(c.secret)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	c.owner, err1 = keys.IdentityOf(ids)
	c.device, err2 = keys.DeviceOf(devs)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	var err error
	if c.cert, err = c.owner.Certify(c.device.Public(), keys.CertifyOptions{Name: "laptop", Issued: time.UnixMilli(1_700_000_000_000)}); err != nil {
		t.Fatal(err)
	}
	if c.proxy, err = c.owner.Delegate(c.device.Public(), keys.DelegateOptions{Rights: keys.RightCreate, Name: "hub", Issued: time.UnixMilli(1_700_000_000_000)}); err != nil {
		t.Fatal(err)
	}
	g := c.genesis()
	body, err := g.encode()
	if err != nil {
		t.Fatal(err)
	}
	c.signed = encodeSigned(body, c.device.Sign(domainGenesis, body))
	c.thread = ThreadIDOf(c.signed)
	c.keys = FirstKeys(c.thread, fill[SecretKey](20), fill[SecretKey](21))
	c.invite = fixedInvite(t)
	c.invite.Thread = c.thread
	if c.opens, err = InviteIdentity(c.invite); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *cast) genesis() Genesis {
	return Genesis{
		Owner: c.owner.Public(), Certificate: c.cert, Salt: fill[[32]byte](2), Semantics: semanticsVersion,
		Read: CommitTo(fill[SecretKey](20)), Service: CommitTo(fill[SecretKey](21)), Time: 1_700_000_000_001 << 16,
	}
}

// set returns the fields of a value that are not empty: a control record has those of its
// operation.
func set(v any) map[string]any {
	all := vectors.Of(v).(map[string]any)
	s := reflect.Indirect(reflect.ValueOf(v))
	for i := range s.NumField() {
		if f := s.Field(i); s.Type().Field(i).IsExported() && (f.IsZero() || f.Kind() == reflect.Slice && f.Len() == 0) {
			delete(all, vectors.Name(s.Type().Field(i).Name))
		}
	}
	return all
}

func sum(parts ...[]byte) []byte { return slices.Concat(parts...) }

// signature is what follows of one, for the file.
func signature(key keys.PublicKey, domain string, message []byte, s keys.Signature) map[string]any {
	return vectors.Gives{"key": key, "domain": domain, "message": message, "signature": s}
}

// hashed is what h of docs/design.md gives.
func hashed(domain string, message []byte) map[string]any {
	return vectors.Gives{"domain": domain, "message": message, "hash": digest(domain, message)}
}

func sealed(secret, info, aad, sealed, plain []byte) map[string]any {
	return vectors.Gives{"secret": secret, "info": info, "aad": aad, "sealed": sealed, "plain": plain}
}

// TestVectors holds the formats of this package against testdata/vectors/thread.json.
func TestVectors(t *testing.T) {
	c := newCast(t)
	all := slices.Concat(c.founding(t), c.records(t), c.bodies(t), c.controls(t), c.epochs(t), c.invites(t), c.blobs(t))
	vectors.Check(t, "thread", "docs/design.md, docs/design/net.md", all...)
}

func (c *cast) founding(t *testing.T) []vectors.Vector {
	g := c.genesis()
	body, err := g.encode()
	if err != nil {
		t.Fatal(err)
	}
	all := []vectors.Vector{
		{
			Name: "genesis", Values: g, Bytes: body,
			Back: func(b []byte) (any, error) { return decodeGenesisBody(b) },
		},
		{
			Name: "signed genesis", Values: g, Bytes: c.signed,
			Gives: vectors.Gives{
				"signed": []any{signature(c.device.Public().Sign, domainGenesis, body, c.device.Sign(domainGenesis, body))},
				"hashed": []any{
					hashed(domainThread, c.signed), hashed(domainKeyCommit, fill20()), hashed(domainKeyCommit, fill21()),
				},
				"thread": c.thread.String(),
			},
			Back: func(b []byte) (any, error) { return DecodeGenesis(b) },
		},
	}
	g.Certificate, g.Delegation = nil, c.proxy
	if body, err = g.encode(); err != nil {
		t.Fatal(err)
	}
	signed := encodeSigned(body, c.device.Sign(domainGenesis, body))
	all = append(all, vectors.Vector{
		Name: "signed genesis of a delegated device", Values: g, Bytes: signed, Gives: vectors.Gives{"thread": ThreadIDOf(signed).String()},
		Back: func(b []byte) (any, error) { return DecodeGenesis(b) },
	})
	for _, d := range []Descriptor{
		{Device: c.device.Public().Sign, Kind: KindControl, Incarnation: [16]byte{1, 2}},
		{Device: c.device.Public().Sign, Kind: KindData, Incarnation: [16]byte{3}, Control: fill[clock.LogID](10)},
		{Device: c.device.Public().Sign, Kind: KindSnapshot, Incarnation: [16]byte{4}, Control: fill[clock.LogID](10)},
	} {
		id := d.LogID(c.thread)
		if h := digest(domainLog, c.thread[:], d.Encode()); clock.Hash(id) != h {
			t.Error("the ID of a log is another hash")
		}
		all = append(all, vectors.Vector{
			Name: fmt.Sprintf("descriptor of kind %d", d.Kind), Values: set(d), Bytes: d.Encode(),
			Gives: vectors.Gives{"hashed": []any{hashed(domainLog, sum(c.thread[:], d.Encode()))}},
			Back: func(b []byte) (any, error) {
				d, err := DecodeDescriptor(b)
				return set(d), err
			},
		})
	}
	if parsed, err := ParseThreadID(c.thread.String()); err != nil || parsed != c.thread {
		t.Errorf("the text of a thread's ID: %v", err)
	}
	return all
}

func fill20() []byte { k := fill[SecretKey](20); return k[:] }
func fill21() []byte { k := fill[SecretKey](21); return k[:] }

func (c *cast) records(t *testing.T) (all []vectors.Vector) {
	first := &Header{Log: fill[clock.LogID](1), Seq: 1, Time: 1 << 40, Epochs: []clock.Hash{clock.Hash(c.thread)}, Root: fill[clock.Hash](9)}
	for _, h := range []struct {
		name string
		*Header
	}{{"header", fixedHeader()}, {"first header", first}} {
		if h.name == "header" {
			h.Extensions[1].Critical = false // an unknown critical one is refused
		}
		raw := h.Encode()
		hash := RecordHash(c.thread, raw)
		head := c.device.Sign(DomainHead, c.thread[:], hash[:])
		if !VerifyHead(c.thread, c.device.Public().Sign, hash, head) {
			t.Error("a head does not verify")
		}
		all = append(all, vectors.Vector{
			Name: h.name, Values: h.Header, Bytes: raw,
			Gives: vectors.Gives{
				"thread": c.thread, "hashed": []any{hashed(domainRecord, sum(c.thread[:], raw))},
				"signed": []any{signature(c.device.Public().Sign, DomainHead, sum(c.thread[:], hash[:]), head)},
			},
			Back: func(b []byte) (any, error) { return DecodeHeader(b) },
		})
		s := Stored{Record: Record{Header: raw, Body: []byte("body")}, Signed: h.Seq > 1}
		if s.Signed {
			s.Signature = head
		}
		all = append(all, vectors.Vector{
			Name: "stored " + h.name, Values: s, Bytes: s.Encode(),
			Back: func(b []byte) (any, error) { return DecodeStored(b) },
		})
	}
	d := Descriptor{Device: c.device.Public().Sign, Kind: KindControl, Incarnation: [16]byte{1, 2}}
	r := Run{
		Descriptor: d.Encode(), Signature: keys.Signature{5},
		Records: []Record{{Header: first.Encode(), Body: []byte("one")}, {Header: fixedHeader().Encode(), Body: []byte("two")}},
	}
	return append(all, vectors.Vector{
		Name: "run", Values: r, Bytes: EncodeRun(r),
		Back: func(b []byte) (any, error) { return DecodeRun(b) },
	})
}

// bodies are sealed with salts that are partly random, so that these are kept and opened.
func (c *cast) bodies(t *testing.T) (all []vectors.Vector) {
	s := testSealer(t)
	at := Position{c.thread, fill[clock.LogID](1), 7}
	secret := fill[SecretKey](20)
	for _, p := range []struct {
		name string
		Plaintext
	}{
		{"short", Plaintext{Payload: []byte("stored as it is")}},
		{"atomic", Plaintext{Atomic: true, Payload: bytes.Repeat([]byte("compressed "), 20)}},
		{"of two pieces", Plaintext{Payload: bytes.Repeat([]byte("piece "), 12_000)}},
		{"empty", Plaintext{}},
	} {
		plain := p.encode()
		b := vectors.Random(t, "thread", "body "+p.name, func(b []byte) bool {
			v, err := ParseBody(b)
			if err != nil {
				return false
			}
			back, err := s.Open(secret, at, v)
			return err == nil && back.Atomic == p.Atomic && bytes.Equal(back.Payload, p.Payload)
		}, func() []byte {
			b, _, err := s.Seal(secret, at, &p.Plaintext)
			if err != nil {
				t.Fatal(err)
			}
			return b
		})
		v, err := ParseBody(b)
		if err != nil {
			t.Fatal(err)
		}
		short := plain[:min(len(plain), 80)]
		all = append(all, vectors.Vector{Name: "body " + p.name, Bytes: b, Gives: vectors.Gives{
			"key": secret, "thread": at.Thread, "log": at.Log, "seq": at.Seq, "root": v.Root(),
			"atomic": p.Atomic, "plainSize": len(plain), "plainBegins": short, "plainHash": sha256.Sum256(plain),
		}})
		if len(plain) < 400 {
			all = append(all, vectors.Vector{
				Name: "plaintext " + p.name, Values: p.Plaintext, Bytes: plain,
				Back: func(b []byte) (any, error) { return decodePlaintext(b) },
			})
		}
	}
	return all
}

func (c *cast) controls(t *testing.T) (all []vectors.Vector) {
	heads := make([]clock.RecordID, 3)
	for i := range heads {
		heads[i] = clock.RecordID{Log: fill[clock.LogID](byte(i)), Seq: 1 << (20 * i), Hash: fill[clock.Hash](byte(i))}
	}
	joins := []clock.Hash{fill[clock.Hash](8), fill[clock.Hash](9)}
	cert, err := c.cert.Encode()
	if err != nil {
		t.Fatal(err)
	}
	proxy, err := c.proxy.Encode()
	if err != nil {
		t.Fatal(err)
	}
	log := fill[clock.LogID](10)
	d := Descriptor{Device: c.device.Public().Sign, Kind: KindData, Incarnation: [16]byte{1, 2}, Control: log}
	join := c.opens.Sign(DomainJoin, c.thread[:], log[:], cert, d.Encode())
	e := &Epoch{
		Commit: fill[clock.Hash](11), Previous: []byte("previous"), Invites: []InviteSeal{{Invite: fill[clock.Hash](7), Sealed: [80]byte{13}}},
		Devices: []DeviceSeal{{Tag: [8]byte{1}, Sealed: [80]byte{12}}, {Tag: [8]byte{2}, Sealed: [80]byte{12}}},
	}
	subject := c.owner.Public()
	for _, x := range []struct {
		note string
		Control
	}{
		{"", Control{Op: OpOpen, Name: "näme"}},
		{"", Control{Op: OpInvite, Key: c.invite.Key(), Role: RoleWriter, Expires: 1 << 50, Uses: 24, Sealed: bytes.Repeat([]byte("s"), 112)}},
		{"", Control{Op: OpJoin, Invite: fill[clock.Hash](7), Certificate: cert, Data: d.Encode(), Signature: join}},
		{"", Control{Op: OpClose, Invite: fill[clock.Hash](7), Joins: joins}},
		{"", Control{Op: OpLog, Data: d.Encode()}},
		{"", Control{Op: OpAdmit, Joins: joins}},
		{"", Control{Op: OpRole, Subject: subject, Role: RoleAdmin, Joins: joins, View: heads[:2]}},
		{"", Control{Op: OpRemove, Subject: subject, Joins: joins, View: heads, Epoch: e}},
		{" without an epoch", Control{Op: OpRemove, Subject: subject}},
		{"", Control{Op: OpRotate, Epoch: e}},
		{"", Control{Op: OpVouch, Vouched: clock.Hash{1: 1}, State: clock.Hash{2: 2}}},
		{"", Control{Op: OpTransfer, Subject: subject, Joins: joins, View: heads[1:]}},
		{" to nobody", Control{Op: OpTransfer}},
		{"", Control{Op: OpDevice, Subject: c.cert.Sign, Certificate: cert, Sealed: bytes.Repeat([]byte("s"), 112)}},
		{" delegated", Control{Op: OpDevice, Subject: c.proxy.Sign, Certificate: proxy, Sealed: bytes.Repeat([]byte("s"), 112), Delegated: true}},
		{"", Control{Op: OpStart, Added: fill[clock.Hash](16), Data: d.Encode()}},
		{"", Control{Op: OpRecover, Certificate: cert, Data: d.Encode(), Key: c.owner.Public(), Next: c.invite.Key(), View: heads, Signature: join}},
		{"", Control{Op: OpRevoke, Subject: c.device.Public().Sign, View: heads[:1]}},
		{"", Control{Op: OpCheckpoint, Checkpoint: &Checkpoint{Heads: heads[:2], Snapshot: heads[2], State: fill[clock.Hash](6)}}},
	} {
		v := vectors.Vector{
			Name: x.Op.String() + x.note, Values: set(x.Control), Bytes: x.Encode(),
			Back: func(b []byte) (any, error) {
				back, err := DecodeControl(b)
				if err != nil {
					return nil, err
				}
				return set(*back), nil
			},
		}
		if x.Op == OpJoin {
			v.Gives = vectors.Gives{"signed": []any{signature(c.invite.Key(), DomainJoin, sum(c.thread[:], log[:], cert, d.Encode()), join)}}
		}
		all = append(all, v)
	}
	return all
}

// epochs are sealed with keys that are drawn, so that they are kept and opened.
func (c *cast) epochs(t *testing.T) []vectors.Vector {
	k := fixedKeys()
	thread := k.thread
	name := EpochsName(thread, k.Epochs)
	read, held := k.Read(k.Epochs)
	if !held {
		t.Error("no key of several epochs")
	}
	state := fill[clock.Hash](30)
	invite := fill[clock.Hash](7)
	opened := func(b []byte) (e *Epoch, read SecretKey, ok bool) {
		p, err := DecodeControl(b)
		if err != nil || p.Epoch == nil {
			return nil, read, false
		}
		read, err1 := p.Epoch.ForDevice(thread, c.device)
		again, err2 := p.Epoch.ForInvite(thread, invite, c.opens)
		_, gives, err3 := p.Epoch.Before(thread, &k, read, func(clock.Hash) (clock.Hash, bool) { return clock.Hash{}, false })
		return p.Epoch, read, errors.Join(err1, err2, err3) == nil && again == read && slices.Equal(gives, k.Epochs)
	}
	rotate := vectors.Random(t, "thread", "an epoch", func(b []byte) bool { _, _, ok := opened(b); return ok }, func() []byte {
		d := c.device.Public()
		e, err := NewEpoch(thread, &k, k.Epochs, []Recipient{{Sign: d.Sign, Seal: d.Seal}}, map[clock.Hash]keys.PublicKey{invite: c.invite.Key()})
		if err != nil {
			t.Fatal(err)
		}
		return (&Control{Op: OpRotate, Epoch: e}).Encode()
	})
	e, newRead, ok := opened(rotate)
	if !ok {
		t.Fatal("an epoch does not open")
	}
	key := c.opens.SealingKey().Secret()
	forInvite := vectors.Random(t, "thread", "keys sealed to an invite", func(b []byte) bool {
		back, err := OpenWithInvite(thread, &Keys{thread: thread}, c.opens, b, func(e clock.Hash) (clock.Hash, bool) { return CommitTo(k.reads[e]), k.Has(e) })
		return err == nil && back.Len() == 2
	}, func() []byte {
		b, err := SealForInvite(thread, c.opens, &k)
		if err != nil {
			t.Fatal(err)
		}
		return b
	})
	return []vectors.Vector{
		{
			Name: "keys of a thread", Values: map[string]any{"service": k.Service, "epochs": k.Held(), "reads": k.joined(k.Held())}, Bytes: k.Encode(),
			Back: func(b []byte) (any, error) {
				back, err := DecodeKeys(thread, b)
				return map[string]any{"service": back.Service, "epochs": back.Held(), "reads": back.joined(back.Held())}, err
			},
		},
		{
			Name: "several epochs", Gives: vectors.Gives{
				"thread": thread, "epochs": k.Epochs, "reads": k.joined(k.Epochs), "name": name, "key": read,
				"hashed": []any{hashed(domainEpochs, sum(thread[:], k.Epochs[0][:], k.Epochs[1][:]))},
			},
		},
		{
			Name: "state tag", Gives: vectors.Gives{"thread": thread, "read": k.reads[clock.Hash(thread)], "state": state, "tag": k.StateTag(state)},
		},
		{
			Name: "an epoch", Bytes: rotate, Gives: vectors.Gives{
				"thread": thread, "read": newRead, "previous": k.joined(k.Epochs), "previousSealed": e.Previous, "hashed": []any{hashed(domainKeyCommit, newRead[:])},
				"sealed": []any{
					sealed(c.secret[32:], SealedTo(thread, sealDevice), e.Commit[:], e.Devices[0].Sealed[:], newRead[:]),
					sealed(key.Reveal(), SealedTo(thread, sealInvite), e.Commit[:], e.Invites[0].Sealed[:], newRead[:]),
				},
			},
		},
		{
			Name: "keys sealed to an invite", Bytes: forInvite, Gives: vectors.Gives{
				"sealed": []any{sealed(key.Reveal(), SealedTo(thread, "invite"), nil, forInvite, k.joined(k.Epochs))},
			},
		},
	}
}

func (c *cast) invites(t *testing.T) []vectors.Vector {
	values := func(i Invite) map[string]any {
		addrs := []string{}
		for _, a := range i.Addrs {
			addrs = append(addrs, a.String())
		}
		return map[string]any{"thread": i.Thread, "seed": i.seed.Reveal(), "service": i.service.Reveal(), "addrs": addrs}
	}
	device := c.device.Public().Sign
	key, proof, err := ProveInvite(c.invite, device)
	if err != nil || CheckInviteProof(c.thread, device, key, proof) != nil {
		t.Errorf("the proof of an invite: %v", err)
	}
	if back, err := ParseInvite(c.invite.URL()); err != nil || back.URL() != c.invite.URL() {
		t.Errorf("the text of an invite: %v", err)
	}
	return []vectors.Vector{{
		Name: "invite's text", Values: values(c.invite), Bytes: EncodeInvite(c.invite),
		Gives: vectors.Gives{
			"url": c.invite.URL(), "key": c.invite.Key(), "hashed": []any{hashed(domainInvite, EncodeInvite(c.invite))},
			"signed": []any{signature(keys.PublicKey(key), domainInviteProof, sum(c.thread[:], device[:]), keys.Signature(proof))},
		},
		Back: func(b []byte) (any, error) {
			i, err := DecodeInvite(b)
			return values(i), err
		},
	}}
}

func (c *cast) blobs(t *testing.T) (all []vectors.Vector) {
	k := fixedKeys()
	for name, epochs := range map[string][]clock.Hash{"blob": k.Epochs[:1], "blob under two epochs": k.Epochs} {
		k := k.Under(epochs)
		plain := binary.BigEndian.AppendUint32([]byte("plaintext"), 7)
		b, err := SealBlob(&k, k.thread, plain)
		if err != nil {
			t.Fatal(err)
		}
		read, _ := k.Read(k.Epochs)
		all = append(all, vectors.Vector{
			Name: name, Values: map[string]any{"plain": plain}, Bytes: b,
			Gives: vectors.Gives{"thread": k.thread, "epoch": EpochsName(k.thread, k.Epochs), "read": read, "id": BlobIDOf(b)},
			Back: func(b []byte) (any, error) {
				plain, err := OpenBlob(&k, k.thread, b)
				return map[string]any{"plain": plain}, err
			},
		})
	}
	slices.SortFunc(all, func(a, b vectors.Vector) int { return bytes.Compare([]byte(a.Name), []byte(b.Name)) })
	return all
}
