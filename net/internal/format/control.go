package format

import (
	"fmt"
	"unicode/utf8"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/keys"
)

// An Op is a kind of control record.
type Op uint8

// The operations that exist.
const (
	OpOpen       Op = 1
	OpInvite     Op = 2
	OpJoin       Op = 3
	OpClose      Op = 4
	OpLog        Op = 5
	OpCheckpoint Op = 10
	OpAdmit      Op = 13

	lastOp = 13 // 6…9, 11 and 12 are named and refused until they exist
)

var opNames = [lastOp + 1]string{
	1: "open", 2: "invite", 3: "join", 4: "close", 5: "log",
	6: "device", 7: "role", 8: "remove", 9: "rotate", 10: "checkpoint", 11: "semantics", 12: "adopt", 13: "admit",
}

// exists reports whether this release knows what the operation does.
func (o Op) exists() bool { return o >= OpOpen && o <= OpLog || o == OpCheckpoint || o == OpAdmit }

// maxPayload returns the largest payload of the operation, in bytes.
func (o Op) maxPayload() int {
	switch o {
	case OpJoin:
		return maxJoin
	case OpClose, OpAdmit:
		return maxList
	case OpCheckpoint:
		return maxCheckpoint
	}
	return maxControl
}

// String returns the name of the operation.
func (o Op) String() string {
	if int(o) < len(opNames) && opNames[o] != "" {
		return opNames[o]
	}
	return fmt.Sprintf("number %d", uint8(o))
}

const (
	// MaxThreadName bounds the name that an open carries, in bytes.
	MaxThreadName = 128
	maxControl    = 4 << 10 // bytes of a control payload
	maxJoin       = 1 << 10 // whoever has an invite's secret makes these
	maxList       = MaxJoins*32 + 128
	maxSealedKeys = 512

	// MaxJoins bounds the joins that one close or admit lists.
	MaxJoins = 2000
)

// A Control is what a control record says; the fields that its operation
// has are set.
type Control struct {
	Op          Op
	Name        string         // open
	Key         keys.PublicKey // invite: its public key
	Invite      clock.Hash     // join, close: the record of the invite
	Joins       []clock.Hash   // close, admit: records of the joins that stand, sorted
	Role        Role           // invite
	Expires     clock.Time     // invite; 0 never
	Uses        uint64         // invite; 0 any number
	Sealed      []byte         // invite: keys of the epoch, to the invite's secret
	Certificate []byte         // join: of the joining device
	Data        []byte         // join, log: descriptor of a data log
	Signature   keys.Signature // join: by the invite's key
	Checkpoint  *Checkpoint    // checkpoint
}

// The forms of a control payload and of the body of each operation.
type (
	controlWire struct {
		_    struct{} `cbor:",toarray"`
		Op   Op
		Body []byte
	}
	openWire struct {
		_    struct{} `cbor:",toarray"`
		Name []byte
	}
	inviteRecordWire struct {
		_       struct{} `cbor:",toarray"`
		Key     keys.PublicKey
		Role    Role
		Expires clock.Time
		Uses    uint64
		Sealed  []byte
	}
	joinWire struct {
		_           struct{} `cbor:",toarray"`
		Invite      clock.Hash
		Certificate []byte
		Data        []byte
		Signature   keys.Signature
	}
	closeWire struct {
		_      struct{} `cbor:",toarray"`
		Invite clock.Hash
		Joins  []byte // hashes, one after the other
	}
	admitWire struct {
		_     struct{} `cbor:",toarray"`
		Joins []byte
	}
	logWire struct {
		_    struct{} `cbor:",toarray"`
		Data []byte
	}
)

// Encode returns the payload of the record. A field that the operation does not
// have is left out.
func (c *Control) Encode() []byte {
	var body any
	switch c.Op {
	case OpOpen:
		body = &openWire{Name: []byte(c.Name)}
	case OpInvite:
		body = &inviteRecordWire{Key: c.Key, Role: c.Role, Expires: c.Expires, Uses: c.Uses, Sealed: c.Sealed}
	case OpJoin:
		body = &joinWire{Invite: c.Invite, Certificate: c.Certificate, Data: c.Data, Signature: c.Signature}
	case OpClose:
		body = &closeWire{Invite: c.Invite, Joins: joinHashes(c.Joins)}
	case OpAdmit:
		body = &admitWire{Joins: joinHashes(c.Joins)}
	case OpLog:
		body = &logWire{Data: c.Data}
	case OpCheckpoint:
		body = c.Checkpoint.wire()
	default:
		return codec.Encode(&controlWire{Op: c.Op}) // has no body here
	}
	return codec.Encode(&controlWire{Op: c.Op, Body: codec.Encode(body)})
}

// DecodeControl parses a control payload strictly. An operation that does not
// exist yet, known by name or not, is ErrOperation.
func DecodeControl(p []byte) (*Control, error) {
	if len(p) > maxList {
		return nil, fault.Of(ErrTooLarge, "control payload of %d bytes", len(p))
	}
	var w controlWire
	if err := codec.Decode(p, "control payload", &w); err != nil {
		return nil, err
	}
	c := &Control{Op: w.Op}
	if !c.Op.exists() {
		return nil, fault.Of(ErrOperation, "the control operation %s does not exist yet", c.Op)
	}
	if most := c.Op.maxPayload(); len(p) > most {
		return nil, fault.Of(ErrTooLarge, "%s of %d bytes, at most %d", c.Op, len(p), most)
	}
	if err := c.decodeBody(w.Body); err != nil {
		return nil, err
	}
	for _, f := range []struct {
		p     []byte
		limit int
	}{{[]byte(c.Name), MaxThreadName}, {c.Sealed, maxSealedKeys}, {c.Certificate, keys.MaxCertificateSize}, {c.Data, maxDescriptor}} {
		if len(f.p) > f.limit {
			return nil, fault.Of(ErrMalformed, "%s with a field of %d bytes, at most %d", c.Op, len(f.p), f.limit)
		}
	}
	if !utf8.ValidString(c.Name) {
		return nil, fault.Of(ErrMalformed, "the name of a thread is not UTF-8")
	}
	if c.Op == OpInvite {
		return c, c.Role.Check()
	}
	return c, nil
}

// decodeBody sets the fields of the operation.
func (c *Control) decodeBody(p []byte) error {
	what := c.Op.String()
	switch c.Op {
	case OpOpen:
		var w openWire
		err := codec.Decode(p, what, &w)
		c.Name = string(w.Name)
		return err
	case OpInvite:
		var w inviteRecordWire
		err := codec.Decode(p, what, &w)
		c.Key, c.Role, c.Expires, c.Uses, c.Sealed = w.Key, w.Role, w.Expires, w.Uses, w.Sealed
		return err
	case OpJoin:
		var w joinWire
		err := codec.Decode(p, what, &w)
		c.Invite, c.Certificate, c.Data, c.Signature = w.Invite, w.Certificate, w.Data, w.Signature
		return err
	case OpClose:
		var w closeWire
		err := codec.Decode(p, what, &w)
		if err == nil {
			c.Invite = w.Invite
			c.Joins, err = splitHashes(w.Joins)
		}
		return err
	case OpAdmit:
		var w admitWire
		err := codec.Decode(p, what, &w)
		if err == nil {
			c.Joins, err = splitHashes(w.Joins)
		}
		return err
	case OpLog:
		var w logWire
		err := codec.Decode(p, what, &w)
		c.Data = w.Data
		return err
	case OpCheckpoint:
		var w checkpointWire
		err := codec.Decode(p, what, &w)
		if err == nil {
			c.Checkpoint, err = w.checkpoint()
		}
		return err
	}
	return ErrOperation
}

// joinHashes returns the hashes one after the other.
func joinHashes(hs []clock.Hash) []byte {
	b := make([]byte, 0, len(hs)*len(clock.Hash{}))
	for _, h := range hs {
		b = append(b, h[:]...)
	}
	return b
}

// splitHashes parses what [joinHashes] returns: sorted, each once, at most [MaxJoins].
func splitHashes(b []byte) ([]clock.Hash, error) {
	const size = len(clock.Hash{})
	if len(b)%size != 0 || len(b) > MaxJoins*size {
		return nil, fault.Of(ErrMalformed, "a list of joins of %d bytes", len(b))
	}
	var hs []clock.Hash
	for ; len(b) > 0; b = b[size:] {
		h := clock.Hash(b[:size])
		if n := len(hs); n > 0 && CompareHashes(hs[n-1], h) >= 0 {
			return nil, fault.Of(ErrMalformed, "a list of joins is not sorted")
		}
		hs = append(hs, h)
	}
	return hs, nil
}
