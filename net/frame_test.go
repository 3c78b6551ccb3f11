package net

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/net/internal/format"
)

// samples returns one of each message.
func samples() map[byte]any {
	id := bytes.Repeat([]byte{7}, 32)
	tips := toWire([]clock.RecordID{{Log: clock.LogID{1}, Seq: 9, Hash: clock.Hash{2}}})
	return map[byte]any{
		frameRefused:   &refused{Thread: id, Code: "key_revoked", Message: "no"},
		frameSubscribe: &subscribe{Version: 1, Thread: id, Tips: tips, Invite: id, Proof: id},
		frameAccepted:  &accepted{Genesis: id, Tips: tips},
		frameCaughtUp:  &stated{Digest: id},
		frameAck:       &ack{Tips: tips, State: stated{Digest: id, State: id}},
		frameHello:     &hello{More: true, Tags: id},
		frameHost:      &hostRequest{Version: 1, Thread: id, Credential: id, Genesis: id, ServiceKey: id},
		frameHosted:    &hosted{Thread: id, Until: 77},
		frameFollow:    &blobFollow{Version: 1, Thread: id, After: 3, Follow: true},
		frameBlobRefs:  &blobRefs{Last: 4, Blobs: []wireBlobRef{{ID: id, Size: 12}}},
		frameBlobWant:  &blobWant{IDs: id},
	}
}

func empty(kind byte) any {
	switch kind {
	case frameRefused:
		return new(refused)
	case frameSubscribe:
		return new(subscribe)
	case frameAccepted:
		return new(accepted)
	case frameCaughtUp:
		return new(stated)
	case frameAck:
		return new(ack)
	case frameHello:
		return new(hello)
	case frameHost:
		return new(hostRequest)
	case frameHosted:
		return new(hosted)
	case frameFollow:
		return new(blobFollow)
	case frameBlobRefs:
		return new(blobRefs)
	case frameBlobWant:
		return new(blobWant)
	}
	return nil
}

func TestMessagesRoundTrip(t *testing.T) {
	for kind, msg := range samples() {
		frame, err := messageFrame(kind, msg)
		if err != nil {
			t.Fatal(err)
		}
		got, body, err := readFrame(bytes.NewReader(frame))
		if err != nil || got != kind {
			t.Fatalf("type %d: read type %d: %v", kind, got, err)
		}
		v := empty(kind)
		if err := decodeMessage(body, v); err != nil {
			t.Fatalf("type %d: %v", kind, err)
		}
		again, err := messageFrame(kind, v)
		if err != nil || !bytes.Equal(again, frame) {
			t.Fatalf("type %d: encodes to other bytes: %v", kind, err)
		}
		if err := decodeMessage(append(body, 0), empty(kind)); !errors.Is(err, errFrame) {
			t.Fatalf("type %d: trailing byte: %v", kind, err)
		}
	}
}

func TestFrameBounds(t *testing.T) {
	if _, err := rawFrame(frameBlob, make([]byte, format.MaxFrame)); !errors.Is(err, errFrame) {
		t.Fatalf("a frame above the maximum was made: %v", err)
	}
	largest, err := rawFrame(frameBlob, bytes.Repeat([]byte{3}, format.MaxFrame-1))
	if err != nil {
		t.Fatal(err)
	}
	if _, body, err := readFrame(bytes.NewReader(largest)); err != nil || !bytes.Equal(body, largest[5:]) {
		t.Fatalf("largest frame: %d bytes: %v", len(body), err)
	}
	for name, in := range map[string][]byte{
		"too long": {0xff, 0xff, 0xff, 0xff, 1}, "no type": {0, 0, 0, 0, 1},
	} {
		if _, _, err := readFrame(bytes.NewReader(in)); !errors.Is(err, errFrame) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := readFrame(bytes.NewReader(largest[:1000])); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("cut off: %v", err)
	}
}

func FuzzFrame(f *testing.F) {
	for kind, msg := range samples() {
		frame, err := messageFrame(kind, msg)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(frame)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		kind, body, err := readFrame(bytes.NewReader(in))
		if err != nil {
			return
		}
		v := empty(kind)
		if v == nil || decodeMessage(body, v) != nil {
			return
		}
		again, err := messageFrame(kind, v)
		if err != nil || !bytes.Equal(again, in[:len(again)]) {
			t.Fatalf("decoded, but encodes to other bytes: %v", err)
		}
	})
}
