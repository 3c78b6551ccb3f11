package net

import (
	"io"

	"github.com/weftdb/weft/internal/canonical"
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/net/internal/format"
)

// Types of frames. A frame is length u32be, type byte, body; the length counts
// type and body and is at most [format.MaxFrame].
const (
	frameRefused   = 1  // message refused: the other side will not do it
	frameSubscribe = 2  // message subscribe: opens a thread stream
	frameAccepted  = 3  // message accepted: answers it
	frameRun       = 4  // a run, encoded
	frameCaughtUp  = 5  // message stated: everything sent so far
	frameAck       = 6  // message ack: durable at the receiver
	frameHello     = 7  // message hello: the tags of all threads
	frameHost      = 8  // message hostRequest: keep this thread
	frameHosted    = 9  // message hosted: it is kept
	frameFollow    = 10 // message blobFollow: opens a blob stream
	frameBlobRefs  = 11 // message blobRefs: blobs held
	frameBlobWant  = 12 // message blobWant: send these
	frameBlob      = 13 // ID and sealed bytes of one blob; an ID alone: not held
	frameMembers   = 14 // message members: where members of the thread are
	frameAgain     = 15 // message again: what was refused may be asked for again
)

// Limits of frames that a peer may send before it is known to be a member.
const (
	maxSubscribe = 1 << 20  // about 15,000 logs
	maxRequest   = 16 << 10 // a credential, a genesis, an invite; blob IDs
	maxHello     = tagsPerFrame*tagSize + 64
)

// wireVersion is the version of the messages of every protocol of this package.
const wireVersion = 1

// messages encodes what is said on a stream, and what the exchange remembers.
var messages = canonical.New(canonical.Options{
	Elements: 1 << 17, Nesting: 8, Malformed: errFrame, TooLarge: errFrame,
})

var frames = canonical.Frames{Max: format.MaxFrame, Malformed: errFrame, TooLarge: errFrame}

type (
	// wireTip is a record ID on the wire.
	wireTip struct {
		_    struct{} `cbor:",toarray"`
		Log  []byte
		Seq  uint64
		Hash []byte
	}
	refused struct {
		_       struct{} `cbor:",toarray"`
		Thread  []byte
		Code    string
		Message string
	}
	subscribe struct {
		_       struct{} `cbor:",toarray"`
		Version uint64
		Thread  []byte
		Tips    []wireTip
		Invite  []byte // public invite key, or empty
		Proof   []byte // its signature over the thread and both peers
	}
	accepted struct {
		_       struct{} `cbor:",toarray"`
		Genesis []byte
		Tips    []wireTip
	}
	// stated says what a side holds durably: a digest of its tips and, from a
	// member that has folded just these, its state hash.
	stated struct {
		_      struct{} `cbor:",toarray"`
		Digest []byte
		State  []byte // 32 bytes, or empty
	}
	ack struct {
		_     struct{}  `cbor:",toarray"`
		Tips  []wireTip // those that changed since the last ack
		State stated
	}
	hello struct {
		_    struct{} `cbor:",toarray"`
		More bool     // further tags follow in the next frame
		Tags []byte   // tagSize bytes each, sorted
	}
	hostRequest struct {
		_          struct{} `cbor:",toarray"`
		Version    uint64
		Thread     []byte
		Credential []byte
		Genesis    []byte
		ServiceKey []byte
		Invite     []byte // as in subscribe
		Proof      []byte
	}
	hosted struct {
		_      struct{} `cbor:",toarray"`
		Thread []byte
		Until  uint64 // Unix milliseconds at which the permission ends; 0: none
	}
	again struct {
		_      struct{} `cbor:",toarray"`
		Thread []byte
	}
	blobFollow struct {
		_       struct{} `cbor:",toarray"`
		Version uint64
		Thread  []byte
		After   uint64
		Follow  bool
	}
	wireBlobRef struct {
		_    struct{} `cbor:",toarray"`
		ID   []byte
		Size uint64
	}
	blobRefs struct {
		_     struct{} `cbor:",toarray"`
		Last  uint64   // the sender's cursor after these
		Blobs []wireBlobRef
	}
	blobWant struct {
		_    struct{} `cbor:",toarray"`
		Have uint64   // all up to this cursor is durable here
		IDs  []byte   // 32 bytes each; may be none
	}
)

// messageFrame returns the frame of a message.
func messageFrame(kind byte, message any) ([]byte, error) {
	return rawFrame(kind, messages.Encode(message))
}

// rawFrame returns the frame of an encoded body, made of parts.
func rawFrame(kind byte, parts ...[]byte) ([]byte, error) { return frames.Append(nil, kind, parts...) }

// readFrame reads one frame of any length that may be.
func readFrame(r io.Reader) (kind byte, body []byte, err error) {
	return frames.Read(r, format.MaxFrame)
}

// decodeMessage reads a message strictly into v.
func decodeMessage(body []byte, v any) error {
	return messages.Decode(body, "message", v)
}

func toWire(tips []clock.RecordID) []wireTip {
	w := make([]wireTip, len(tips))
	for i, t := range tips {
		w[i] = wireTip{Log: append([]byte(nil), t.Log[:]...), Seq: t.Seq, Hash: append([]byte(nil), t.Hash[:]...)}
	}
	return w
}

// fromWire checks the form of tips. What they name need not exist.
func fromWire(w []wireTip) ([]clock.RecordID, error) {
	tips := make([]clock.RecordID, len(w))
	for i, t := range w {
		if len(t.Log) != 32 || len(t.Hash) != 32 || t.Seq == 0 {
			return nil, fault.Of(errFrame, "tip %d is malformed", i)
		}
		tips[i] = clock.RecordID{Log: clock.LogID(t.Log), Seq: t.Seq, Hash: clock.Hash(t.Hash)}
	}
	return tips, nil
}

// threadOf returns the thread ID in a message.
func threadOf(p []byte) (ThreadID, error) {
	if len(p) != 32 {
		return ThreadID{}, fault.Of(errFrame, "thread ID of %d bytes", len(p))
	}
	return format.ThreadID(p), nil
}
