// Package model is the definition of authority as a program: records give roles, places,
// verdicts, and who can know which keys. It is brute force, keeps nothing and has no
// clock; docs/design/authority.md says the same in words, and why. Whatever folds
// records faster has to give what [Judge] gives.
//
//	records ─► graph   what is held, and what each has seen
//	        ─► world   entries, most senior first: which control records act
//	        ─► State   horizons, places, definitions, documents; each data record judged
//	                   in its own world: without what a senior horizon left out
//
// Signatures are taken for granted: a log is written by the device that its first record
// names, a join by who has the invite's secret, a recover by who has the key. One record
// holds one operation.
package model

// A Role is what an entry may do; the lower, the more. 0 is none.
type Role int

// The roles.
const Owner, Admin, Writer, Reader, Relay Role = 1, 2, 3, 4, 5 //nolint:revive // the comment says what each is

// A Hash names a record.
type Hash string

// A Kind is what a record does.
type Kind string

// A Verdict is what becomes of a record.
type Verdict string

// What begins a control log: of the device that the genesis names; by the key that is
// committed to; by invite Grant; by the device record Grant; and the log of one record by
// which an identity, without a device, revokes its device Subject.
const Open, Recover, Join, Start, Revoke Kind = "open", "recover", "join", "start", "revoke" //nolint:revive // the comment says what each is

// An invite is of Role, for identity Subject if given. A close ends invite Grant. Of a
// close, an admit and a removal, Joins stand.
const Invite, Close, Admit Kind = "invite", "close", "admit" //nolint:revive // the comment says what each is

// Subject is an identity, and Joins are the first records of its logs, of SetRole and
// Transfer (without a subject: the author leaves); an identity or device, of Remove; a
// device, of Device. A removal and a rotation make an epoch.
const SetRole, Transfer, Remove, Device, Rotate, Checkpoint Kind = "role", "transfer", "remove", "device", "rotate", "checkpoint" //nolint:revive // the comment says what each is

// Announce says of a data log that it is there, which anybody may.
const Announce Kind = "log"

// What is in a data log: an operation sets document Doc of collection Name to Shape.
const Op, Define, Horizon Kind = "op", "define", "horizon" //nolint:revive // the comment says what each is

// OK is the verdict on what has effect, Settled on what a checkpoint has seen.
const OK, Settled Verdict = "ok", "settled" //nolint:revive // the comment says what each is

// Refused of any record: it is not in the graph, as what it names is missing or misused;
// a commitment was used twice; no entry for its log; an entry, but a cut has not seen it;
// or a role change has; it is not in the table.
const Apart, Frozen, Nobody, Cut, Before, NotInRole Verdict = "apart", "frozen", "nobody", "cut", "before", "role" //nolint:revive // the comment says what each is

// Refused of control and first records: the invite names another; the invite is closed;
// T is out of bounds.
const Named, Waiting, BadTime Verdict = "named", "waiting", "time" //nolint:revive // the comment says what each is

// Refused of data records: what a cut or a view names is not held; it does not descend
// from the floor of its log; a definition is beaten; there is none, and the thread is
// closed; it, or its rule, does not fit; the document exists.
const Unknown, Floor, Stale, Undefined, BadShape, Denied, Exists Verdict = "unknown", "floor", "stale", "undefined", "schema", "rule", "exists" //nolint:revive // the comment says what each is

// A Head names a record.
type Head struct {
	Log  string
	Seq  int
	Hash Hash
}

// A Def is a definition of a collection.
type Def struct {
	In     bool     // not: there is none, or none any more
	Shapes []string // that documents may have; nil: any
	Own    bool     // a document is replaced by the identity that wrote it
	May    Role     // the lowest role that may define next; 0: Admin
}

// A Doc is a document as the fold has it.
type Doc struct{ Owner, Shape string }

// A Record is one of a control log or, if Of is set, of a data log.
type Record struct {
	Head
	Prev, Grant               Hash
	Of                        string // the control log of a data log
	Kind                      Kind
	Role                      Role
	Clock, T                  int      // T is of Horizon and Checkpoint
	Control                   []Hash   // control heads that it names; of data records those that it was written under
	Data                      []Head   // data heads that it names
	Identity, Device, Subject string   // the first two of a first record
	Key, Commit               string   // of Recover: the key that it uses; the commitment to the next
	Devices                   []string // that an epoch is sealed to
	Joins, Invites            []Hash   // Invites that an epoch is sealed to
	Name, Doc, Shape          string   // of Op, the first of Define
	Insert                    bool     // of Op: refused if the document exists
	Delegated, Lone           bool     // of Device: it is delegated; and adds no devices
	Def                       Def
	Docs                      map[string]Doc    // of Checkpoint, by collection/document
	Tips                      map[string]Record // of Checkpoint: the last definitions, by collection
}

func (r *Record) control() bool { return r.Of == "" }

func (r *Record) epoch() bool { return r.Kind == Rotate || r.Kind == Remove }

func (r *Record) first() bool {
	return r.Kind == Open || r.Kind == Recover || r.Kind == Join || r.Kind == Start || r.Kind == Revoke
}

// A Genesis is what a thread's ID commits to.
type Genesis struct {
	Identity, Device, Commit string // of the owner; to the first recovery key
	Delegated, Lone          bool   // the device is delegated; and adds no devices
	Closed                   bool   // names without a definition are refused
	Late                     int    // how far behind its clock a horizon's T is at least
}
