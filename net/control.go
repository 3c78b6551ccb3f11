package net

import (
	"fmt"
	"unicode/utf8"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/keys"
)

// A controlOp is a kind of control record.
type controlOp uint8

const (
	opOpen         controlOp = 1
	opInvite       controlOp = 2
	opJoin         controlOp = 3
	opRevokeInvite controlOp = 4
	opLog          controlOp = 5
	opCheckpoint   controlOp = 10

	lastOp = 12 // 6…12 are named and refused until they exist
)

var opNames = [lastOp + 1]string{
	1: "open", 2: "invite", 3: "join", 4: "revoke-invite", 5: "log",
	6: "device", 7: "role", 8: "remove", 9: "rotate", 10: "checkpoint", 11: "semantics", 12: "adopt",
}

// String returns the name of the operation.
func (o controlOp) String() string {
	if int(o) < len(opNames) && opNames[o] != "" {
		return opNames[o]
	}
	return fmt.Sprintf("operation %d", uint8(o))
}

const (
	maxThreadName = 128
	maxControl    = 4 << 10 // bytes of a control payload
	maxSealedKeys = 512
)

// A controlPayload is what a control record says; the fields that its operation
// has are set.
type controlPayload struct {
	Op          controlOp
	Name        string         // open
	Key         keys.PublicKey // invite, join, revoke-invite: public key of the invite
	Role        Role           // invite
	Expires     clock.Time     // invite; 0 never
	Uses        uint64         // invite; 0 any number
	Sealed      []byte         // invite: keys of the epoch, to the invite's secret
	Certificate []byte         // join: of the joining device
	Data        []byte         // join, log: descriptor of a data log
	Signature   keys.Signature // join: by the invite's key
	Checkpoint  *checkpoint    // checkpoint
}

// The forms of a control payload and of the body of each operation.
type (
	controlWire struct {
		_    struct{} `cbor:",toarray"`
		Op   controlOp
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

func (c *controlPayload) encode() []byte {
	var body any
	switch c.Op {
	case opOpen:
		body = &openWire{Name: []byte(c.Name)}
	case opInvite:
		body = &inviteRecordWire{Key: c.Key, Role: c.Role, Expires: c.Expires, Uses: c.Uses, Sealed: c.Sealed}
	case opJoin:
		body = &joinWire{Key: c.Key, Certificate: c.Certificate, Data: c.Data, Signature: c.Signature}
	case opRevokeInvite:
		body = &revokeInviteWire{Key: c.Key}
	case opLog:
		body = &logWire{Data: c.Data}
	case opCheckpoint:
		body = c.Checkpoint.wire()
	default:
		return encode(&controlWire{Op: c.Op}) // has no body here
	}
	return encode(&controlWire{Op: c.Op, Body: encode(body)})
}

// decodeControl parses a control payload strictly. An operation that does not
// exist yet, known by name or not, is ErrOperation.
func decodeControl(p []byte) (*controlPayload, error) {
	if len(p) > maxCheckpoint {
		return nil, fmt.Errorf("%w: control payload of %d bytes", ErrTooLarge, len(p))
	}
	var w controlWire
	if err := decode(p, "control payload", &w); err != nil {
		return nil, err
	}
	c := &controlPayload{Op: w.Op}
	if (c.Op < opOpen || c.Op > opLog) && c.Op != opCheckpoint {
		return nil, fmt.Errorf("%w: %s", ErrOperation, c.Op)
	}
	if len(p) > maxControl && c.Op != opCheckpoint {
		return nil, fmt.Errorf("%w: control payload of %d bytes", ErrTooLarge, len(p))
	}
	if err := c.decodeBody(w.Body); err != nil {
		return nil, err
	}
	for _, f := range []struct {
		p     []byte
		limit int
	}{{[]byte(c.Name), maxThreadName}, {c.Sealed, maxSealedKeys}, {c.Certificate, keys.MaxCertificateSize}, {c.Data, maxDescriptor}} {
		if len(f.p) > f.limit {
			return nil, fmt.Errorf("%w: %s with a field of %d bytes, at most %d", ErrMalformed, c.Op, len(f.p), f.limit)
		}
	}
	if !utf8.ValidString(c.Name) {
		return nil, fmt.Errorf("%w: name is not UTF-8", ErrMalformed)
	}
	if c.Op == opInvite {
		return c, c.Role.check()
	}
	return c, nil
}

// decodeBody sets the fields of the operation.
func (c *controlPayload) decodeBody(p []byte) error {
	what := c.Op.String()
	switch c.Op {
	case opOpen:
		var w openWire
		err := decode(p, what, &w)
		c.Name = string(w.Name)
		return err
	case opInvite:
		var w inviteRecordWire
		err := decode(p, what, &w)
		c.Key, c.Role, c.Expires, c.Uses, c.Sealed = w.Key, w.Role, w.Expires, w.Uses, w.Sealed
		return err
	case opJoin:
		var w joinWire
		err := decode(p, what, &w)
		c.Key, c.Certificate, c.Data, c.Signature = w.Key, w.Certificate, w.Data, w.Signature
		return err
	case opRevokeInvite:
		var w revokeInviteWire
		err := decode(p, what, &w)
		c.Key = w.Key
		return err
	case opLog:
		var w logWire
		err := decode(p, what, &w)
		c.Data = w.Data
		return err
	case opCheckpoint:
		var w checkpointWire
		err := decode(p, what, &w)
		if err == nil {
			c.Checkpoint, err = w.checkpoint()
		}
		return err
	}
	return ErrOperation
}
