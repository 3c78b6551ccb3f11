// Package wire is what hosts say to each other: messages, the frames that carry
// them, and the tags by which threads are recognised. It is bytes ⇄
// values, and knows neither who speaks nor what is held.
//
//	length u32be ‖ type byte ‖ body     length counts type and body, at most format.MaxFrame
//
//	w.Send(wire.Subscribe{…})                       a message, in the frame of its type
//	req, err := wire.Next[wire.Subscribe](r, limit)   that message and no other
//	kind, body, err := wire.Read(r)                 any frame, then
//	m, err := wire.As[wire.Accepted](kind, body)
//
// What is decoded is in the form of its message: a list is within its bounds, a blob
// reference has an ID and a size that can be. Names in it are bytes that the reader
// looks at ([ThreadOf], [Tips]): what they name need not exist. Everything that is
// not in its form is [ErrFrame].
package wire

import (
	"strconv"

	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/net/internal/format"
)

// Version is the version of the messages of every protocol of package net.
const Version = 1

// ErrFrame reports a frame that breaks the format; its sender is not honest or not
// compatible.
var ErrFrame = fault.New(fault.BadRequest, "the frame breaks the protocol")

// A Kind is the type of a frame.
type Kind byte

// Types of frames. All but runs and blobs carry the message of their name.
const (
	KindRefused   Kind = 1
	KindSubscribe Kind = 2
	KindAccepted  Kind = 3
	KindRun       Kind = 4 // a run, encoded
	KindCaughtUp  Kind = 5 // a Statement, after everything that is to be sent so far
	KindAck       Kind = 6
	KindHello     Kind = 7
	KindHost      Kind = 8
	KindHosted    Kind = 9
	KindFollow    Kind = 10
	KindBlobRefs  Kind = 11
	KindWant      Kind = 12
	KindBlob      Kind = 13 // ID and sealed bytes of one blob; an ID alone: not held
	KindMembers   Kind = 14
	KindAgain     Kind = 15
)

// String returns what a reader that expects the frame calls it: its number, if it opens
// a stream or is one of several that may come.
func (k Kind) String() string {
	switch k {
	case KindAck:
		return "an ack"
	case KindHello:
		return "hello"
	case KindHost:
		return "a host request"
	case KindBlobRefs:
		return "blob references"
	case KindWant:
		return "a blob request"
	}
	return strconv.Itoa(int(k))
}

// Limits of frames that a peer may send before it is known to be a member, in bytes.
const (
	MaxSubscribe = 1 << 20  // TipsPerFrame tips
	MaxRequest   = 16 << 10 // a credential, a genesis, an invite; blob IDs
	MaxHello     = tagsPerFrame*TagSize + 64
)

// Bounds of lists.
const (
	RefsPerFrame  = 1024
	WantPerFrame  = 256
	MaxMembers    = 48 // members of a thread that one of them is told of
	MaxPeerRecord = 4 << 10
)

// A Message is what a frame carries, but for runs and blobs.
type Message interface {
	// Kind returns the type of its frame.
	Kind() Kind
}

type (
	// Refused says that the other side will not do it.
	Refused struct {
		_       struct{} `cbor:",toarray"`
		Thread  []byte
		Code    string
		Message string
	}
	// Subscribe opens a stream of records.
	Subscribe struct {
		_       struct{} `cbor:",toarray"`
		Version uint64
		Thread  []byte
		Tips    []Tip
		Invite  []byte // public invite key, or empty
		Proof   []byte // its signature over the thread and both peers
	}
	// Accepted answers Subscribe.
	Accepted struct {
		_       struct{} `cbor:",toarray"`
		Genesis []byte
		Tips    []Tip
	}
	// Statement says what a side holds durably: a digest of its tips and, from a
	// member that has folded just these, its state hash; and the last checkpoint, if what all
	// of them cover is deleted.
	Statement struct {
		_      struct{} `cbor:",toarray"`
		Digest []byte
		State  []byte // 32 bytes, or empty
		Pruned []byte // 32 bytes, or empty
	}
	// Ack says what has become durable at the receiver of records.
	Ack struct {
		_     struct{} `cbor:",toarray"`
		Tips  []Tip    // those that changed since the last ack
		State Statement
	}
	// Hello is the tags of all threads of a host.
	Hello struct {
		_    struct{} `cbor:",toarray"`
		More bool     // further tags follow in the next frame
		Tags []byte   // TagSize bytes each, sorted
	}
	// HostRequest asks a relay to keep a thread.
	HostRequest struct {
		_          struct{} `cbor:",toarray"`
		Version    uint64
		Thread     []byte
		Credential []byte
		Genesis    []byte
		ServiceKey []byte
		Invite     []byte // as in Subscribe
		Proof      []byte
	}
	// Hosted says that a relay keeps a thread.
	Hosted struct {
		_      struct{} `cbor:",toarray"`
		Thread []byte
		Until  uint64 // Unix milliseconds at which the permission ends; 0: none
	}
	// Again says that what was refused may be asked for again.
	Again struct {
		_      struct{} `cbor:",toarray"`
		Thread []byte
	}
	// Follow opens a stream of blobs.
	Follow struct {
		_       struct{} `cbor:",toarray"`
		Version uint64
		Thread  []byte
		After   uint64
		Follow  bool
	}
	// BlobRef names a blob.
	BlobRef struct {
		_    struct{} `cbor:",toarray"`
		ID   []byte
		Size uint64
	}
	// BlobRefs lists blobs that the sender holds.
	BlobRefs struct {
		_     struct{} `cbor:",toarray"`
		Last  uint64   // the sender's cursor after these
		Blobs []BlobRef
	}
	// Want asks for blobs.
	Want struct {
		_    struct{} `cbor:",toarray"`
		Have uint64   // all up to this cursor is durable here
		IDs  []byte   // 32 bytes each; may be none
	}
	// Members says where members of a thread are.
	Members struct {
		_       struct{} `cbor:",toarray"`
		Records [][]byte // signed peer records of libp2p
	}
)

// Kind returns KindRefused.
func (Refused) Kind() Kind { return KindRefused }

// Kind returns KindSubscribe.
func (Subscribe) Kind() Kind { return KindSubscribe }

// Kind returns KindAccepted.
func (Accepted) Kind() Kind { return KindAccepted }

// Kind returns KindCaughtUp: in an ack, a statement is no message by itself.
func (Statement) Kind() Kind { return KindCaughtUp }

// Kind returns KindAck.
func (Ack) Kind() Kind { return KindAck }

// Kind returns KindHello.
func (Hello) Kind() Kind { return KindHello }

// Kind returns KindHost.
func (HostRequest) Kind() Kind { return KindHost }

// Kind returns KindHosted.
func (Hosted) Kind() Kind { return KindHosted }

// Kind returns KindAgain.
func (Again) Kind() Kind { return KindAgain }

// Kind returns KindFollow.
func (Follow) Kind() Kind { return KindFollow }

// Kind returns KindBlobRefs.
func (BlobRefs) Kind() Kind { return KindBlobRefs }

// Kind returns KindWant.
func (Want) Kind() Kind { return KindWant }

// Kind returns KindMembers.
func (Members) Kind() Kind { return KindMembers }

// check bounds the list; the sizes in it bound what is asked for at once.
func (m BlobRefs) check() error {
	if len(m.Blobs) > RefsPerFrame || m.Last > 1<<62 {
		return fault.Of(ErrFrame, "the blob references are malformed")
	}
	for _, r := range m.Blobs {
		if len(r.ID) != 32 || r.Size < format.BlobHead || r.Size > format.MaxSealedBlob {
			return fault.Of(ErrFrame, "a blob reference is malformed")
		}
	}
	return nil
}

func (m Want) check() error {
	if len(m.IDs)%32 != 0 || len(m.IDs) > 32*WantPerFrame {
		return fault.Of(ErrFrame, "%d bytes of blob IDs", len(m.IDs))
	}
	return nil
}

// check bounds the records; whether they are signed is seen by who reads them.
func (m Members) check() error {
	if len(m.Records) > MaxMembers {
		return fault.Of(ErrFrame, "%d records of members", len(m.Records))
	}
	for _, b := range m.Records {
		if len(b) > MaxPeerRecord {
			return fault.Of(ErrFrame, "the record of a member has %d bytes", len(b))
		}
	}
	return nil
}
