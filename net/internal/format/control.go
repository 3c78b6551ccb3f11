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
	OpDevice     Op = 6
	OpRole       Op = 7
	OpRemove     Op = 8
	OpRotate     Op = 9
	OpCheckpoint Op = 10
	OpAdmit      Op = 13
	OpTransfer   Op = 14
	OpStart      Op = 15
	OpRecover    Op = 16
	OpRevoke     Op = 17
	OpVouch      Op = 18

	lastOp = OpVouch // 11 and 12 are named and refused until they exist
)

var opNames = [lastOp + 1]string{
	1: "open", 2: "invite", 3: "join", 4: "close", 5: "log",
	6: "device", 7: "role", 8: "remove", 9: "rotate", 10: "checkpoint", 11: "semantics", 12: "adopt", 13: "admit",
	14: "transfer", 15: "start", 16: "recover", 17: "revoke", 18: "vouch",
}

// exists reports whether this release knows what the operation does.
func (o Op) exists() bool {
	return o >= OpOpen && o <= OpCheckpoint || o >= OpAdmit && o <= OpVouch
}

// First reports whether a record of the operation begins a control log; no other does.
func (o Op) First() bool {
	return o == OpOpen || o == OpJoin || o >= OpStart && o <= OpRevoke
}

// maxPayload returns the largest payload of the operation, in bytes.
func (o Op) maxPayload() int {
	switch o {
	case OpJoin, OpStart:
		return maxJoin
	case OpClose, OpAdmit:
		return maxList
	case OpCheckpoint:
		return maxCheckpoint
	case OpRole, OpTransfer, OpRecover, OpRevoke:
		return maxCut
	case OpRemove, OpRotate:
		return maxEpoch
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
	maxSealedKeys = 1 << 10
	maxCut        = 256 << 10 // of a record that limits what others may do
	maxEpoch      = 512 << 10 // of one that begins an epoch
	// MaxView bounds the heads of data logs that a record names.
	MaxView = 2000

	// MaxJoins bounds the joins that one close or admit lists.
	MaxJoins = 2000
)

// A Control is what a control record says; the fields that its operation
// has are set.
type Control struct {
	Op          Op
	Name        string           // open
	Key         keys.PublicKey   // invite: its public key; recover: the recovery key that it uses
	Next        keys.PublicKey   // recover: the next recovery key; zero: there is none
	Invite      clock.Hash       // join, close: the record of the invite
	Joins       []clock.Hash     // close, admit, remove: records of the joins that stand; role, transfer: of the subject's logs; sorted
	Role        Role             // invite, role
	Expires     clock.Time       // invite; 0 never
	Uses        uint64           // invite; 0 any number
	Sealed      []byte           // invite, device: keys of the epoch, to the invite's secret or the device
	Certificate []byte           // join, recover: of the log's device; device: of the added one, or its delegation
	Delegated   bool             // device: the added one is delegated
	Added       clock.Hash       // start: the record that adds the device
	Data        []byte           // join, start, recover, log: descriptor of a data log
	Signature   keys.Signature   // join: by the invite's key; recover: by the recovery key
	Checkpoint  *Checkpoint      // checkpoint
	Subject     keys.PublicKey   // role, transfer: an identity (of a transfer, none: the author leaves); remove: an identity or a device; device, revoke: a device
	View        []clock.RecordID // role, remove, transfer, recover, revoke: what its author had of the data logs that it limits, by log and hash
	Epoch       *Epoch           // rotate, remove: nil of who may begin none
	Vouched     clock.Hash       // vouch: the record of a checkpoint
	State       clock.Hash       // vouch: the tag of the state that its author's own history gives; another than the checkpoint's is an objection
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
	roleWire struct {
		_       struct{} `cbor:",toarray"`
		Subject keys.PublicKey
		Role    Role
		Joins   []byte
		View    []coveredWire
	}
	removeWire struct {
		_       struct{} `cbor:",toarray"`
		Subject keys.PublicKey
		Joins   []byte
		View    []coveredWire
		Epoch   *epochWire // null: none
	}
	rotateWire struct {
		_     struct{} `cbor:",toarray"`
		Epoch epochWire
	}
	deviceWire struct {
		_           struct{} `cbor:",toarray"`
		Certificate []byte   // a delegation if the device is delegated
		Sealed      []byte
		Delegated   uint64 // 1: it is; else 0
	}
	startWire struct {
		_     struct{} `cbor:",toarray"`
		Added clock.Hash
		Data  []byte
	}
	recoverWire struct {
		_         struct{} `cbor:",toarray"`
		Statement []byte
		Signature keys.Signature
	}
	recoverStatement struct {
		_           struct{} `cbor:",toarray"`
		Certificate []byte
		Data        []byte
		Key         keys.PublicKey
		Next        keys.PublicKey
		View        []coveredWire
	}
	revokeWire struct {
		_       struct{} `cbor:",toarray"`
		Subject keys.PublicKey
		View    []coveredWire
	}
	vouchWire struct {
		_          struct{} `cbor:",toarray"`
		Checkpoint clock.Hash
		State      clock.Hash
	}
	transferWire struct {
		_       struct{} `cbor:",toarray"`
		Subject keys.PublicKey
		Joins   []byte
		View    []coveredWire
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
	case OpRole:
		body = &roleWire{Subject: c.Subject, Role: c.Role, Joins: joinHashes(c.Joins), View: coveredWires(c.View...)}
	case OpRemove:
		w := &removeWire{Subject: c.Subject, Joins: joinHashes(c.Joins), View: coveredWires(c.View...)}
		if c.Epoch != nil {
			w.Epoch = c.Epoch.wire()
		}
		body = w
	case OpRotate:
		body = &rotateWire{Epoch: *c.Epoch.wire()}
	case OpTransfer:
		body = &transferWire{Subject: c.Subject, Joins: joinHashes(c.Joins), View: coveredWires(c.View...)}
	case OpDevice:
		w := &deviceWire{Certificate: c.Certificate, Sealed: c.Sealed}
		if c.Delegated {
			w.Delegated = 1
		}
		body = w
	case OpStart:
		body = &startWire{Added: c.Added, Data: c.Data}
	case OpRecover:
		body = &recoverWire{Statement: c.statement(), Signature: c.Signature}
	case OpVouch:
		body = &vouchWire{Checkpoint: c.Vouched, State: c.State}
	case OpRevoke:
		body = &revokeWire{Subject: c.Subject, View: coveredWires(c.View...)}
	default:
		return codec.Encode(&controlWire{Op: c.Op}) // has no body here
	}
	return codec.Encode(&controlWire{Op: c.Op, Body: codec.Encode(body)})
}

// DecodeControl parses a control payload strictly. An operation that does not
// exist yet, known by name or not, is ErrOperation.
func DecodeControl(p []byte) (*Control, error) {
	if len(p) > maxEpoch {
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
	if c.Op == OpInvite || c.Op == OpRole {
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
	case OpRole:
		var w roleWire
		err := codec.Decode(p, what, &w)
		c.Subject, c.Role = w.Subject, w.Role
		return c.cutFields(err, w.Joins, w.View)
	case OpRemove:
		var w removeWire
		err := codec.Decode(p, what, &w)
		c.Subject = w.Subject
		if err = c.cutFields(err, w.Joins, w.View); err == nil && w.Epoch != nil {
			c.Epoch, err = w.Epoch.epoch()
		}
		return err
	case OpRotate:
		var w rotateWire
		err := codec.Decode(p, what, &w)
		if err == nil {
			c.Epoch, err = w.Epoch.epoch()
		}
		return err
	case OpTransfer:
		var w transferWire
		err := codec.Decode(p, what, &w)
		c.Subject = w.Subject
		return c.cutFields(err, w.Joins, w.View)
	case OpDevice, OpStart, OpRecover, OpRevoke:
		return c.decodeOfDevices(p)
	case OpVouch:
		var w vouchWire
		err := codec.Decode(p, what, &w)
		c.Vouched, c.State = w.Checkpoint, w.State
		return err
	case OpCheckpoint:
		var w checkpointWire
		err := codec.Decode(p, what, &w)
		if err == nil {
			c.Checkpoint, err = w.checkpoint()
		}
		return err
	}
	return fault.Of(ErrOperation, "the control operation %s does not exist yet", c.Op)
}

// cutFields sets what records have that limit others, unless they were not decoded.
func (c *Control) cutFields(err error, joins []byte, view []coveredWire) error {
	if err == nil {
		c.Joins, err = splitHashes(joins)
	}
	if err == nil {
		c.View, err = viewOf(view)
	}
	return err
}

// viewOf checks that heads are sorted by log and hash, of a forked log one a branch.
func viewOf(w []coveredWire) ([]clock.RecordID, error) {
	if len(w) > MaxView {
		return nil, fault.Of(ErrMalformed, "a view of %d heads, at most %d", len(w), MaxView)
	}
	var heads []clock.RecordID
	for i, h := range w {
		if h.Seq == 0 {
			return nil, fault.Of(ErrMalformed, "a view names a head without a position")
		}
		heads = append(heads, h.id())
		if i > 0 && CompareHeads(heads[i-1], heads[i]) >= 0 {
			return nil, fault.Of(ErrMalformed, "the heads of a view are not sorted")
		}
	}
	return heads, nil
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
		hs = append(hs, clock.Hash(b[:size]))
	}
	if !sortedHashes(hs) {
		return nil, fault.Of(ErrMalformed, "a list of joins is not sorted")
	}
	return hs, nil
}
