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
	OpOpen         Op = 1
	OpInvite       Op = 2
	OpJoin         Op = 3
	OpRevokeInvite Op = 4
	OpLog          Op = 5
	OpCheckpoint   Op = 10

	lastOp = 12 // 6…12 are named and refused until they exist
)

var opNames = [lastOp + 1]string{
	1: "open", 2: "invite", 3: "join", 4: "revoke-invite", 5: "log",
	6: "device", 7: "role", 8: "remove", 9: "rotate", 10: "checkpoint", 11: "semantics", 12: "adopt",
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
	maxSealedKeys = 512
)

// A Control is what a control record says; the fields that its operation
// has are set.
type Control struct {
	Op          Op
	Name        string         // open
	Key         keys.PublicKey // invite, join, revoke-invite: public key of the invite
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
		Key         keys.PublicKey
		Certificate []byte
		Data        []byte
		Signature   keys.Signature
	}
	revokeInviteWire struct {
		_   struct{} `cbor:",toarray"`
		Key keys.PublicKey
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
		body = &joinWire{Key: c.Key, Certificate: c.Certificate, Data: c.Data, Signature: c.Signature}
	case OpRevokeInvite:
		body = &revokeInviteWire{Key: c.Key}
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
	if len(p) > maxCheckpoint {
		return nil, fault.Of(ErrTooLarge, "control payload of %d bytes", len(p))
	}
	var w controlWire
	if err := codec.Decode(p, "control payload", &w); err != nil {
		return nil, err
	}
	c := &Control{Op: w.Op}
	if (c.Op < OpOpen || c.Op > OpLog) && c.Op != OpCheckpoint {
		return nil, fault.Of(ErrOperation, "the control operation %s does not exist yet", c.Op)
	}
	if len(p) > maxControl && c.Op != OpCheckpoint {
		return nil, fault.Of(ErrTooLarge, "control payload of %d bytes", len(p))
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
		c.Key, c.Certificate, c.Data, c.Signature = w.Key, w.Certificate, w.Data, w.Signature
		return err
	case OpRevokeInvite:
		var w revokeInviteWire
		err := codec.Decode(p, what, &w)
		c.Key = w.Key
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
