package wire

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/vectors"
	"github.com/weftdb/weft/net/internal/format"
)

// samples returns one of each message.
func samples() []Message {
	id := bytes.Repeat([]byte{7}, 32)
	tips := FromTips([]clock.RecordID{{Log: clock.LogID{1}, Seq: 9, Hash: clock.Hash{2}}})
	return []Message{
		Refused{Thread: id, Code: "key_revoked", Message: "no"},
		Subscribe{Version: 1, Thread: id, Tips: tips, Invite: id, Proof: id},
		Accepted{Genesis: id, Tips: tips},
		Statement{Digest: id},
		Ack{Tips: tips, State: Statement{Digest: id, State: id}},
		Hello{More: true, Tags: id},
		HostRequest{Version: 1, Thread: id, Credential: id, Genesis: id, ServiceKey: id},
		Hosted{Thread: id, Until: 77},
		Follow{Version: 1, Thread: id, After: 3, Follow: true},
		BlobRefs{Last: 4, Blobs: []BlobRef{{ID: id, Size: 100}}},
		Want{IDs: id},
		Members{Records: [][]byte{id, {1}}},
		Again{Thread: id},
	}
}

// decode reads a body as the message of its type; nil, nil is a type that has none.
func decode(kind Kind, body []byte) (Message, error) {
	as := map[Kind]func(Kind, []byte) (Message, error){
		KindRefused: message[Refused], KindSubscribe: message[Subscribe], KindAccepted: message[Accepted],
		KindCaughtUp: message[Statement], KindAck: message[Ack], KindHello: message[Hello], KindHost: message[HostRequest],
		KindHosted: message[Hosted], KindFollow: message[Follow], KindBlobRefs: message[BlobRefs], KindWant: message[Want],
		KindMembers: message[Members], KindAgain: message[Again],
	}[kind]
	if as == nil {
		return nil, nil
	}
	return as(kind, body)
}

func message[M Message](kind Kind, body []byte) (Message, error) { return As[M](kind, body) }

// sent returns the bytes that a message is sent as.
func sent(t testing.TB, m Message) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := NewWriter(&b).Send(m); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestVectors holds the messages of the exchange, each in its frame, and a tag against
// testdata/vectors/exchange.json.
func TestVectors(t *testing.T) {
	var all []vectors.Vector
	for _, m := range samples() {
		all = append(all, vectors.Vector{
			Name: fmt.Sprintf("%T", m)[len("wire."):], Values: m, Bytes: sent(t, m), Gives: vectors.Gives{"type": m.Kind()},
			Back: func(b []byte) (any, error) {
				kind, body, err := Read(bytes.NewReader(b))
				if err != nil {
					return nil, err
				}
				return decode(kind, body)
			},
		})
	}
	key, id := bytes.Repeat([]byte{8}, 32), format.ThreadID(bytes.Repeat([]byte{7}, 32))
	tag := TagOf(key, id, "a peer", "another peer")
	if other := TagOf(key, id, "another peer", "a peer"); other != tag {
		t.Error("two peers have two tags")
	}
	all = append(all, vectors.Vector{Name: "tag of a thread", Bytes: tag[:], Gives: vectors.Gives{
		"service": key, "thread": id, "peers": []string{"a peer", "another peer"},
	}})
	vectors.Check(t, "exchange", "docs/design/sync.md", all...)
}

func TestMessagesRoundTrip(t *testing.T) {
	for _, m := range samples() {
		frame := sent(t, m)
		kind, body, err := Read(bytes.NewReader(frame))
		if err != nil || kind != m.Kind() {
			t.Fatalf("type %d: read type %d: %v", m.Kind(), kind, err)
		}
		v, err := decode(kind, body)
		if err != nil {
			t.Fatalf("type %d: %v", kind, err)
		}
		if again := sent(t, v); !bytes.Equal(again, frame) {
			t.Fatalf("type %d: encodes to other bytes", kind)
		}
		if _, err := decode(kind, append(body, 0)); !errors.Is(err, ErrFrame) {
			t.Fatalf("type %d: trailing byte: %v", kind, err)
		}
	}
}

// A message that breaks a bound of its form is not taken.
func TestMessageBounds(t *testing.T) {
	id := bytes.Repeat([]byte{7}, 32)
	for name, m := range map[string]Message{
		"many references":  BlobRefs{Blobs: slices.Repeat([]BlobRef{{ID: id, Size: 100}}, RefsPerFrame+1)},
		"far cursor":       BlobRefs{Last: 1<<62 + 1},
		"short blob ID":    BlobRefs{Blobs: []BlobRef{{ID: id[1:], Size: 100}}},
		"small blob":       BlobRefs{Blobs: []BlobRef{{ID: id, Size: format.BlobHead - 1}}},
		"large blob":       BlobRefs{Blobs: []BlobRef{{ID: id, Size: format.MaxSealedBlob + 1}}},
		"part of an ID":    Want{IDs: id[1:]},
		"many IDs":         Want{IDs: make([]byte, 32*(WantPerFrame+1))},
		"many members":     Members{Records: make([][]byte, MaxMembers+1)},
		"long peer record": Members{Records: [][]byte{make([]byte, MaxPeerRecord+1)}},
	} {
		_, body, err := Read(bytes.NewReader(sent(t, m)))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := decode(m.Kind(), body); !errors.Is(err, ErrFrame) {
			t.Errorf("%s: got %v, want ErrFrame", name, err)
		}
	}
	if _, err := Next[Ack](bytes.NewReader(sent(t, Want{})), MaxRequest); !errors.Is(err, ErrFrame) {
		t.Errorf("another message: got %v, want ErrFrame", err)
	}
	if _, err := Next[Want](bytes.NewReader(sent(t, Want{IDs: make([]byte, 64)})), 64); !errors.Is(err, ErrFrame) {
		t.Errorf("above the limit: got %v, want ErrFrame", err)
	}
	for name, tip := range map[string]Tip{"short log": {Log: id[1:], Seq: 1, Hash: id}, "no position": {Log: id, Hash: id}} {
		if _, err := Tips([]Tip{tip}); !errors.Is(err, ErrFrame) {
			t.Errorf("%s: got %v, want ErrFrame", name, err)
		}
	}
}

func TestFrameBounds(t *testing.T) {
	var b bytes.Buffer
	w := NewWriter(&b)
	if err := w.SendRaw(KindBlob, make([]byte, format.MaxFrame)); !errors.Is(err, ErrFrame) || b.Len() > 0 {
		t.Fatalf("a frame above the maximum was made: %v", err)
	}
	if err := w.SendBlob([]byte{3}, bytes.Repeat([]byte{3}, format.MaxFrame-2)); err != nil {
		t.Fatal(err)
	}
	largest := b.Bytes()
	if _, body, err := Read(bytes.NewReader(largest)); err != nil || !bytes.Equal(body, largest[5:]) {
		t.Fatalf("largest frame: %d bytes: %v", len(body), err)
	}
	for name, in := range map[string][]byte{
		"too long": {0xff, 0xff, 0xff, 0xff, 1}, "no type": {0, 0, 0, 0, 1},
	} {
		if _, _, err := Read(bytes.NewReader(in)); !errors.Is(err, ErrFrame) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := Read(bytes.NewReader(largest[:1000])); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("cut off: %v", err)
	}
}

// Tags go in frames that a stranger may send; the last says that it is.
func TestSendTags(t *testing.T) {
	for _, n := range []int{0, 1, tagsPerFrame, 2*tagsPerFrame + 1} {
		var b bytes.Buffer
		tags := make([]byte, n*TagSize)
		if err := NewWriter(&b).SendTags(tags); err != nil {
			t.Fatal(err)
		}
		got := 0
		for more := true; more; {
			m, err := Next[Hello](&b, MaxHello)
			if err != nil {
				t.Fatalf("%d tags: %v", n, err)
			}
			got += len(m.Tags) / TagSize
			more = m.More
		}
		if got != n || b.Len() > 0 {
			t.Errorf("got %d tags and %d bytes more, want %d", got, b.Len(), n)
		}
	}
}

func FuzzFrame(f *testing.F) {
	for _, m := range samples() {
		f.Add(sent(f, m))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		kind, body, err := Read(bytes.NewReader(in))
		if err != nil {
			return
		}
		m, err := decode(kind, body)
		if m == nil || err != nil {
			return
		}
		if again := sent(t, m); !bytes.Equal(again, in[:len(again)]) {
			t.Fatal("decoded, but encodes to other bytes")
		}
	})
}
