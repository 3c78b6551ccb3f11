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

import "cmp"

// A Hash names a record.
type Hash string

// A Role is what an entry may do; the lower, the more. 0 is none.
type Role int

// The roles.
const (
	Owner Role = iota + 1
	Admin
	Writer
	Reader
	Relay
)

// A Kind is what a record does.
type Kind string

// The kinds: what begins a control log, what else is in one, what is in a data log.
const (
	Open    Kind = "open"    // of the device that the genesis names
	Recover Kind = "recover" // by the key that is committed to
	Join    Kind = "join"    // Grant is the invite
	Start   Kind = "start"   // Grant is the device record
	Revoke  Kind = "revoke"  // of device Subject, signed by its identity without a device

	Invite     Kind = "invite"   // of Role; for identity Subject, if given
	Close      Kind = "close"    // ends invite Grant; Joins stand
	Admit      Kind = "admit"    // Joins stand
	SetRole    Kind = "role"     // Subject is an identity, Joins are the first records of its logs
	Device     Kind = "device"   // adds device Subject of the own identity
	Remove     Kind = "remove"   // Subject, an identity or device; ends invites, Joins stand; an epoch
	Transfer   Kind = "transfer" // to identity Subject, its first records are Joins; to nobody: leave
	Rotate     Kind = "rotate"   // an epoch
	Checkpoint Kind = "checkpoint"

	Op      Kind = "op" // sets document Doc of collection Name to Shape
	Define  Kind = "define"
	Horizon Kind = "horizon"
)

// A Head names a record of a data log.
type Head struct {
	Log  string
	Seq  int
	Hash Hash
}

// A Def is a definition of a collection.
type Def struct {
	Drop   bool
	Shapes []string // that documents may have; nil: any
	Own    bool     // a document is replaced by the identity that wrote it
	May    Role     // the lowest role that may define next; 0: Admin
}

// A Doc is a document as the fold has it.
type Doc struct{ Owner, Shape string }

// A Tip is the definition that a checkpoint carries.
type Tip struct {
	Head Head
	Def  Def
}

// A Record is one of a control log or, if Of is set, of a data log.
type Record struct {
	Hash, Prev Hash
	Log        string
	Of         string // the control log of a data log
	Seq        int    // from 1
	Clock      int
	Kind       Kind
	Control    []Hash // control heads that it names; of data records those that it was written under
	Data       []Head // data heads that it names

	Identity, Device string // of a first record
	Subject          string
	Role             Role
	Grant            Hash
	Joins            []Hash
	Delegated        bool     // of Device
	Key, Commit      string   // of Recover: the key that it uses; the commitment to the next
	Devices          []string // that an epoch is sealed to
	Invites          []Hash   // that an epoch is sealed to

	Name, Doc, Shape string
	Insert           bool // refused if the document exists
	Def              Def
	T                int            // of Horizon and Checkpoint
	Docs             map[string]Doc // of Checkpoint, by collection/document
	Tips             map[string]Tip // of Checkpoint, by collection
}

func (r *Record) control() bool { return r.Of == "" }

func (r *Record) first() bool {
	switch r.Kind {
	case Open, Recover, Join, Start, Revoke:
		return true
	}
	return false
}

// A Genesis is what a thread's ID commits to.
type Genesis struct {
	Identity, Device string
	Commit           string // to the first recovery key
	Closed           bool   // names without a definition are refused
	Late             int    // how far behind its clock a horizon's T is at least
}

// A Verdict is what becomes of a record.
type Verdict string

// The verdicts. All but OK and Settled are refusals.
const (
	OK        Verdict = "ok"
	Settled   Verdict = "settled"   // a checkpoint has seen it
	Apart     Verdict = "apart"     // not part of the graph: something that it names is missing, or misused
	Frozen    Verdict = "frozen"    // a commitment was used twice
	Nobody    Verdict = "nobody"    // no entry for its log
	Cut       Verdict = "cut"       // an entry, but a cut has not seen it
	Before    Verdict = "before"    // a role change has seen it
	NotInRole Verdict = "role"      // not in the table
	Named     Verdict = "named"     // the invite names another
	Waiting   Verdict = "waiting"   // a join by a closed invite
	Unknown   Verdict = "unknown"   // a cut, or a view, names what is not held
	Floor     Verdict = "floor"     // does not descend from the floor of its log
	BadTime   Verdict = "time"      // T is out of bounds
	Stale     Verdict = "stale"     // beaten by another definition
	Undefined Verdict = "undefined" // no definition, and the thread is closed
	BadShape  Verdict = "schema"
	Denied    Verdict = "rule"
	Exists    Verdict = "exists"
)

// A Place is where an operation stands.
type Place struct {
	First, Clock int
	Log          string
	Hash         Hash
}

func (p Place) compare(o Place) int {
	return cmp.Or(cmp.Compare(p.First, o.First), cmp.Compare(p.Clock, o.Clock), cmp.Compare(p.Log, o.Log), cmp.Compare(p.Hash, o.Hash))
}
