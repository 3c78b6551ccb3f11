package format

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"pgregory.net/rapid"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/keys"
)

func drawHash(t *rapid.T, name string) clock.Hash {
	return clock.Hash(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, name))
}

func drawHeader(t *rapid.T) *Header {
	h := &Header{
		Log: clock.LogID(drawHash(t, "log")), Seq: rapid.Uint64Range(1, 1<<63).Draw(t, "seq"),
		Time: clock.Time(rapid.Uint64().Draw(t, "time")), Epochs: []clock.Hash{drawHash(t, "epoch")}, Root: drawHash(t, "root"),
	}
	if h.Seq > 1 {
		h.Prev = drawHash(t, "prev")
	}
	for range rapid.IntRange(0, MaxControlHeads).Draw(t, "heads") {
		h.Control = append(h.Control, drawHash(t, "head"))
	}
	slices.SortFunc(h.Control, CompareHashes)
	h.Control = slices.Compact(h.Control)
	for i := range rapid.IntRange(0, 3).Draw(t, "extensions") {
		h.Extensions = append(h.Extensions, Extension{ID: uint64(i * 300), Data: rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(t, "data")})
	}
	return h
}

func TestHeaderEncoding(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawHeader(t).Encode()
		h, err := DecodeHeader(p)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(h.Encode(), p) {
			t.Fatal("encoding again gives other bytes")
		}
		if _, err := DecodeHeader(append(p, 0)); !errors.Is(err, ErrMalformed) {
			t.Fatalf("got %v of a byte too many", err)
		}
		if _, err := DecodeHeader(p[:rapid.IntRange(0, len(p)-1).Draw(t, "cut")]); err == nil {
			t.Fatal("a truncated header was taken")
		}
	})
}

func TestUnknownVersionsAreRefusedByName(t *testing.T) {
	h := &Header{Seq: 1, Epochs: []clock.Hash{{}}, Extensions: []Extension{{ID: 7, Critical: true}}}
	if _, err := DecodeHeader(h.Encode()); !errors.Is(err, ErrExtension) {
		t.Fatalf("got %v, want ErrExtension", err)
	}
	for i, want := range []string{"record version 2", "record suite 2"} {
		p := (&Header{Seq: 1, Epochs: []clock.Hash{{}}}).Encode()
		p[1+i] = 2
		if _, err := DecodeHeader(p); !errors.Is(err, ErrVersion) || !strings.Contains(err.Error(), want) {
			t.Fatalf("got %v, want %s", err, want)
		}
	}
	if _, err := ParseRole("relay"); !errors.Is(err, ErrOperation) || !strings.Contains(err.Error(), "relay") {
		t.Fatalf("got %v, want ErrOperation", err)
	}
	for op := Op(1); op <= lastOp; op++ {
		if op.exists() {
			continue
		}
		p := (&Control{Op: op}).Encode()
		if _, err := DecodeControl(p); !errors.Is(err, ErrOperation) || !strings.Contains(err.Error(), opNames[op]) {
			t.Fatalf("got %v, want ErrOperation and %s", err, opNames[op])
		}
	}
}

func testSealer(t testing.TB) *Sealer {
	t.Helper()
	c, err := NewSealer()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestBodySealing(t *testing.T) {
	c := testSealer(t)
	rapid.Check(t, func(t *rapid.T) {
		secret := SecretKey(drawHash(t, "key"))
		at := Position{ThreadID(drawHash(t, "thread")), clock.LogID(drawHash(t, "log")), rapid.Uint64().Draw(t, "seq")}
		p := &Plaintext{Atomic: rapid.Bool().Draw(t, "atomic")}
		p.Payload = bytes.Repeat(rapid.SliceOfN(rapid.Byte(), 1, 50).Draw(t, "payload"), rapid.IntRange(0, 5000).Draw(t, "times"))
		body, root, err := c.Seal(secret, at, p)
		if err != nil {
			t.Fatal(err)
		}
		b, err := ParseBody(body)
		if err != nil || b.Root() != root {
			t.Fatalf("got %v", err)
		}
		got, err := c.Open(secret, at, b)
		if err != nil || !bytes.Equal(got.encode(), p.encode()) {
			t.Fatalf("got another plaintext, %v", err)
		}
		other := at
		other.Seq++
		if _, err := c.Open(secret, other, b); !errors.Is(err, ErrWrongKey) {
			t.Fatalf("got %v at another place, want ErrWrongKey", err)
		}
		secret[0] ^= 1
		if _, err := c.Open(secret, at, b); !errors.Is(err, ErrWrongKey) {
			t.Fatalf("got %v with another key, want ErrWrongKey", err)
		}
		secret[0] ^= 1
		body[rapid.IntRange(saltSize+commitSize+5, len(body)-1).Draw(t, "flip")] ^= 1
		if b, err := ParseBody(body); err == nil {
			if _, err := c.Open(secret, at, b); !errors.Is(err, ErrSealed) {
				t.Fatalf("got %v of an altered body, want ErrSealed", err)
			}
		}
	})
}

// bombBody seals a piece that says it is short and expands to 16 MiB.
func bombBody(t testing.TB, secret SecretKey, at Position, says uint64) []byte {
	t.Helper()
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	piece := binary.AppendUvarint([]byte{methodZstd}, says)
	piece = enc.EncodeAll(make([]byte, 16<<20), piece)
	body := make([]byte, saltSize)
	aead, commit, err := bodyKey(secret, body, at)
	if err != nil {
		t.Fatal(err)
	}
	sealed := aead.Seal(nil, pieceNonce(0, 1), piece, nil)
	body = append(append(body, commit...), 1)
	return append(binary.BigEndian.AppendUint32(body, uint32(len(sealed))), sealed...)
}

func TestBombIsRefused(t *testing.T) {
	c := testSealer(t)
	for _, says := range []uint64{1, 100, MaxPiece} {
		b, err := ParseBody(bombBody(t, SecretKey{1}, Position{}, says))
		if err != nil {
			t.Fatal(err)
		}
		allocated := testing.AllocsPerRun(1, func() { _, err = c.Open(SecretKey{1}, Position{}, b) })
		if !errors.Is(err, ErrBomb) || allocated > 1000 {
			t.Fatalf("got %v, want ErrBomb", err)
		}
	}
}

func testGenesis(t testing.TB) []byte {
	t.Helper()
	d := keys.NewDevice()
	cert, err := keys.NewIdentity().Certify(d.Public(), keys.CertifyOptions{Issued: time.Unix(1, 0)})
	if err != nil {
		t.Fatal(err)
	}
	signed, _, err := NewGenesis(d, cert, keys.PublicKey{}, 5)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

func TestGenesisIsVerified(t *testing.T) {
	signed := testGenesis(t)
	if _, err := DecodeGenesis(signed); err != nil {
		t.Fatal(err)
	}
	for i := range signed {
		p := bytes.Clone(signed)
		p[i] ^= 1
		if _, err := DecodeGenesis(p); err == nil {
			t.Fatalf("a genesis with byte %d altered was taken", i)
		}
	}
}

func TestInvitePrintsNoSecret(t *testing.T) {
	inv := Invite{Thread: ThreadID{1}, seed: keys.NewSecret()}
	var err error
	if inv.service, err = keys.SecretOf(make([]byte, 32)); err != nil {
		t.Fatal(err)
	}
	url := inv.URL()
	for _, s := range []string{fmt.Sprint(inv), fmt.Sprintf("%+v %#v %s", inv, &inv, []Invite{inv})} {
		if strings.Contains(s, url[10:30]) || !strings.Contains(s, "[invite]") {
			t.Fatalf("got %s", s)
		}
	}
	back, err := ParseInvite(url)
	if err != nil || back.URL() != url || back.Key() != inv.Key() {
		t.Fatalf("got %v", err)
	}
	for i := range url {
		p := []byte(url)
		p[i] ^= 1
		if _, err := ParseInvite(string(p)); err == nil {
			t.Fatalf("an invite with character %d altered was taken", i)
		} else if strings.Contains(err.Error(), url[10:20]) {
			t.Fatalf("the error repeats the secret: %v", err)
		}
	}
}

func FuzzHeader(f *testing.F) {
	f.Add((&Header{Seq: 1}).Encode())
	f.Add((&Header{Seq: 2, Control: []clock.Hash{{1}, {2}}, Extensions: []Extension{{ID: 1, Data: []byte("x")}}}).Encode())
	f.Fuzz(func(t *testing.T, p []byte) {
		if h, err := DecodeHeader(p); err == nil && !bytes.Equal(h.Encode(), p) {
			t.Fatal("encoding again gives other bytes")
		}
	})
}

func FuzzRun(f *testing.F) {
	f.Add(EncodeRun(Run{Descriptor: []byte("d"), Records: []Record{{[]byte("h"), []byte("b")}, {}}}))
	f.Fuzz(func(t *testing.T, p []byte) {
		if r, err := DecodeRun(p); err == nil && !bytes.Equal(EncodeRun(r), p) {
			t.Fatal("encoding again gives other bytes")
		}
	})
}

func FuzzDescriptor(f *testing.F) {
	d := NewDescriptor(keys.PublicKey{1}, KindData, clock.LogID{2})
	f.Add(d.Encode())
	f.Fuzz(func(t *testing.T, p []byte) {
		if d, err := DecodeDescriptor(p); err == nil && !bytes.Equal(d.Encode(), p) {
			t.Fatal("encoding again gives other bytes")
		}
	})
}

func FuzzControl(f *testing.F) {
	for op := OpOpen; op <= lastOp; op++ {
		f.Add((&Control{Op: op, Name: "n", Role: RoleWriter, Sealed: []byte("s"), Certificate: []byte("c"), Data: []byte("d"), Epoch: &Epoch{}, Checkpoint: &Checkpoint{}}).Encode())
	}
	f.Add((&Control{Op: OpDevice, Certificate: testCertificate(f)}).Encode())
	f.Fuzz(func(t *testing.T, p []byte) {
		if c, err := DecodeControl(p); err == nil && !bytes.Equal(c.Encode(), p) {
			t.Fatal("encoding again gives other bytes")
		}
	})
}

func FuzzGenesis(f *testing.F) {
	f.Add(testGenesis(f))
	f.Fuzz(func(t *testing.T, p []byte) {
		if g, err := DecodeGenesis(p); err == nil {
			if b, err := g.encode(); err != nil || !bytes.Contains(p, b) {
				t.Fatal("encoding again gives other bytes")
			}
		}
	})
}

func FuzzInvite(f *testing.F) {
	seed, err := keys.SecretOf(make([]byte, 32))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(Invite{seed: seed, service: seed}.URL())
	f.Fuzz(func(t *testing.T, s string) {
		if i, err := ParseInvite(s); err == nil && i.URL() != s {
			t.Fatal("the URL differs")
		}
	})
}

func FuzzBody(f *testing.F) {
	c, err := NewSealer()
	if err != nil {
		f.Fatal(err)
	}
	body, _, err := c.Seal(SecretKey{1}, Position{}, &Plaintext{Payload: []byte("payload")})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(body, []byte{methodStored, 1, 'x'})
	f.Add(body, (&Plaintext{}).encode())
	f.Fuzz(func(t *testing.T, body, piece []byte) {
		if b, err := ParseBody(body); err == nil {
			b.Root()
			_, _ = c.Open(SecretKey{1}, Position{}, b)
		}
		if len(piece) > 0 {
			if p, err := c.expand(nil, piece, 1); err == nil && len(p) > MaxPiece {
				t.Fatalf("a piece expands to %d bytes", len(p))
			}
		}
		if p, err := decodePlaintext(piece); err == nil && !bytes.Equal(p.encode(), piece) {
			t.Fatal("encoding again gives other bytes")
		}
	})
}

// The bytes of a checkpoint are checked strictly.
func TestCheckpointForm(t *testing.T) {
	id := func(n byte) clock.RecordID { return clock.RecordID{Log: clock.LogID{n}, Seq: 1, Hash: clock.Hash{n}} }
	good := Checkpoint{Heads: []clock.RecordID{id(1), id(2)}, Snapshot: id(3), State: clock.Hash{4}}
	back, err := DecodeControl((&Control{Op: OpCheckpoint, Checkpoint: &good}).Encode())
	if err != nil || !slices.Equal(back.Checkpoint.Heads, good.Heads) || back.Checkpoint.Snapshot != good.Snapshot || back.Checkpoint.State != good.State {
		t.Fatalf("got %+v, %v", back, err)
	}
	zero := id(2)
	zero.Seq = 0
	many := make([]clock.RecordID, MaxCovered+1)
	for i := range many {
		many[i] = clock.RecordID{Log: clock.LogID{byte(i >> 8), byte(i)}, Seq: 1}
	}
	for what, c := range map[string]Checkpoint{
		"no heads": {Snapshot: id(3)}, "unsorted": {Heads: []clock.RecordID{id(2), id(1)}, Snapshot: id(3)},
		"twice": {Heads: []clock.RecordID{id(1), id(1)}, Snapshot: id(3)}, "no position": {Heads: []clock.RecordID{zero}, Snapshot: id(3)},
		"no snapshot": {Heads: []clock.RecordID{id(1)}}, "itself": {Heads: []clock.RecordID{id(3)}, Snapshot: id(3)},
		"too many": {Heads: many, Snapshot: clock.RecordID{Log: clock.LogID{255}, Seq: 1}},
	} {
		_, err := DecodeControl((&Control{Op: OpCheckpoint, Checkpoint: &c}).Encode())
		if !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrTooLarge) {
			t.Errorf("%s: got %v", what, err)
		}
	}
	most := Checkpoint{Heads: many[:MaxCovered], Snapshot: clock.RecordID{Log: clock.LogID{255}, Seq: 1}}
	if p := (&Control{Op: OpCheckpoint, Checkpoint: &most}).Encode(); len(p) > maxCheckpoint {
		t.Errorf("the largest checkpoint has %d bytes", len(p))
	} else if _, err := DecodeControl(p); err != nil {
		t.Error(err)
	}
}

func (p *Plaintext) encode() []byte { return codec.Encode(p.wire()) }
