package net

import (
	"bytes"
	"fmt"
	"unicode/utf8"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/net/internal/cbor"
)

// A controlOp is a kind of control record.
type controlOp uint8

const (
	opOpen         controlOp = 1
	opInvite       controlOp = 2
	opJoin         controlOp = 3
	opRevokeInvite controlOp = 4
	opLog          controlOp = 5

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
}

func (c *controlPayload) encode() []byte {
	var b []byte
	switch c.Op {
	case opOpen:
		b = cbor.AppendBytes(cbor.AppendArray(b, 1), []byte(c.Name))
	case opInvite:
		b = cbor.AppendBytes(cbor.AppendArray(b, 5), c.Key[:])
		b = cbor.AppendUint(cbor.AppendUint(b, uint64(c.Role)), uint64(c.Expires))
		b = cbor.AppendBytes(cbor.AppendUint(b, c.Uses), c.Sealed)
	case opJoin:
		b = cbor.AppendBytes(cbor.AppendArray(b, 4), c.Key[:])
		b = cbor.AppendBytes(cbor.AppendBytes(b, c.Certificate), c.Data)
		b = cbor.AppendBytes(b, c.Signature[:])
	case opRevokeInvite:
		b = cbor.AppendBytes(cbor.AppendArray(b, 1), c.Key[:])
	case opLog:
		b = cbor.AppendBytes(cbor.AppendArray(b, 1), c.Data)
	}
	return cbor.AppendBytes(cbor.AppendUint(cbor.AppendArray(nil, 2), uint64(c.Op)), b)
}

// decodeControl parses a control payload strictly. An operation that does not
// exist yet, known by name or not, is ErrOperation.
func decodeControl(p []byte) (*controlPayload, error) {
	if len(p) > maxControl {
		return nil, fmt.Errorf("%w: control payload of %d bytes", ErrTooLarge, len(p))
	}
	r := cbor.NewReader(p)
	r.Array(2)
	op := r.UintMax(255)
	body := r.Bytes(maxControl)
	if err := r.End(); err != nil {
		return nil, fmt.Errorf("%w: control payload: %w", ErrMalformed, err)
	}
	c := &controlPayload{Op: controlOp(op)}
	if c.Op < opOpen || c.Op > opLog {
		return nil, fmt.Errorf("%w: %s", ErrOperation, c.Op)
	}
	if err := c.decodeBody(cbor.NewReader(body)); err != nil {
		return nil, fmt.Errorf("%s: %w", c.Op, err)
	}
	if !bytes.Equal(c.encode(), p) {
		return nil, fmt.Errorf("%w: control payload is not in canonical form", ErrMalformed)
	}
	return c, nil
}

func (c *controlPayload) decodeBody(r *cbor.Reader) error {
	switch c.Op {
	case opOpen:
		r.Array(1)
		c.Name = string(r.Bytes(maxThreadName))
	case opInvite:
		r.Array(5)
		r.Fixed(c.Key[:])
		c.Role = Role(r.UintMax(255))
		c.Expires = clock.Time(r.Uint())
		c.Uses = r.Uint()
		c.Sealed = bytes.Clone(r.Bytes(maxSealedKeys))
	case opJoin:
		r.Array(4)
		r.Fixed(c.Key[:])
		c.Certificate = bytes.Clone(r.Bytes(keys.MaxCertificateSize))
		c.Data = bytes.Clone(r.Bytes(maxDescriptor))
		r.Fixed(c.Signature[:])
	case opRevokeInvite:
		r.Array(1)
		r.Fixed(c.Key[:])
	case opLog:
		r.Array(1)
		c.Data = bytes.Clone(r.Bytes(maxDescriptor))
	}
	if err := r.End(); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if !utf8.ValidString(c.Name) {
		return fmt.Errorf("%w: name is not UTF-8", ErrMalformed)
	}
	if c.Op == opInvite {
		return c.Role.check()
	}
	return nil
}

// String returns the name of the role.
func (r Role) String() string {
	switch r {
	case RoleOwner:
		return "owner"
	case RoleAdmin:
		return "admin"
	case RoleWriter:
		return "writer"
	case RoleReader:
		return "reader"
	case RoleRelay:
		return "relay"
	}
	return fmt.Sprintf("role %d", uint8(r))
}

// ParseRole returns the role with a name. A role that cannot be given yet is
// [ErrOperation].
func ParseRole(name string) (Role, error) {
	for r := RoleOwner; r <= RoleRelay; r++ {
		if r.String() == name {
			return r, r.check()
		}
	}
	return 0, fmt.Errorf("%w: no role is called %q", ErrMalformed, name)
}

// check refuses roles that cannot be given yet, by name.
func (r Role) check() error {
	if r != RoleOwner && r != RoleWriter {
		return fmt.Errorf("%w: role %s", ErrOperation, r)
	}
	return nil
}

func (r Role) canWrite() bool { return r == RoleOwner || r == RoleAdmin || r == RoleWriter }
