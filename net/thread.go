package net

import (
	"context"

	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/net/internal/thread"
)

// A Thread is the part of a thread that this device holds, and its exchange with
// peers. It is safe for concurrent use, but for [Thread.Append], which has one
// caller at a time.
type Thread struct{ share *share }

func (t *Thread) held() *thread.Thread { return t.share.thread }

// ID returns the thread's ID.
func (t *Thread) ID() ThreadID { return t.held().ID() }

// Name returns the name that the thread was opened with; "" until that is known.
func (t *Thread) Name() string { return t.held().Name() }

// Relay reports whether this node holds the thread as a relay, without the read
// key.
func (t *Thread) Relay() bool { return t.held().Relay() }

// Genesis returns the signed genesis, which the thread ID is the hash of.
func (t *Thread) Genesis() []byte { return t.held().Genesis() }

// Owner returns the identity that made the thread.
func (t *Thread) Owner() keys.PublicKey { return t.held().Owner() }

// Device returns the key of this host's device in the thread: the host's own, or that which a hub
// has for the thread's owner.
func (t *Thread) Device() keys.PublicKey { return t.held().Device() }

// Self returns the identity of this device, as others see it in the thread.
func (t *Thread) Self() keys.PublicKey { return t.held().Self() }

// Writer returns the identity that a record of a data log was written by; ok is false if
// its log is no member's. The answer is the same on every replica that has the record.
func (t *Thread) Writer(id RecordID) (identity keys.PublicKey, ok bool) {
	return t.held().Writer(id)
}

// RightOf returns the role by which a data record counts that changes what is defined, and
// its author's seniority: of two the one of the lesser rank, byte by byte, is the senior. The
// role is 0 if it counts by none. The zero ID is the next own record.
func (t *Thread) RightOf(id RecordID) (role Role, rank []byte, err error) {
	return t.held().RightOf(id)
}

// DataView returns the heads of the data logs that are held and judged, by log, sequence and
// hash, at most limit.
func (t *Thread) DataView(limit int) []RecordID { return t.held().DataView(limit) }

// CaughtUp reports whether this node has all that a relay in use has, or two other members,
// or, where no relay is in use, all others.
func (t *Thread) CaughtUp() bool {
	h := t.share.host
	h.mu.Lock()
	defer h.mu.Unlock()
	return t.share.caughtUp()
}

// HeldAt returns when a data record that is held was written, by its clock.
func (t *Thread) HeldAt(id RecordID) (at Time, held bool, err error) { return t.held().HeldAt(id) }

// Precedes reports whether a data record is head or comes before it in its log, on its branch.
func (t *Thread) Precedes(id, head RecordID) (bool, error) { return t.held().Precedes(id, head) }

// Unseen returns a time that no data record is earlier than which is held and none of heads,
// nor before one; ok is false if there is none.
func (t *Thread) Unseen(heads []RecordID) (at Time, ok bool, err error) {
	return t.held().Unseen(heads)
}

// Authority returns a hash of what the answers of RightOf follow from: while it is the same,
// they are. A change is told as one of the [Cut].
func (t *Thread) Authority() Hash { return t.held().Authority() }

// Members returns the members by device, oldest first.
func (t *Thread) Members() []Member { return t.held().Members() }

// Invites returns the invites that members know of, by key.
func (t *Thread) Invites() []InviteInfo { return t.held().Invites() }

// CreateInvite lets whoever holds the invite join, also while only a relay is
// online. Only an owner or admin can. It is durable on return; the invite is kept nowhere.
func (t *Thread) CreateInvite(ctx context.Context, o InviteOptions) (Invite, error) {
	return t.held().CreateInvite(ctx, o)
}

// RevokeInvite closes an invite: the joins that this device knows stand, one that it does
// not know waits until an owner admits it. Only an owner or admin can. It is durable on return.
func (t *Thread) RevokeInvite(ctx context.Context, key keys.PublicKey) error {
	return t.held().RevokeInvite(ctx, key)
}

// Admit lets devices in that wait, by their join's record. Only an owner or admin can. It is
// durable on return.
func (t *Thread) Admit(ctx context.Context, joins ...Hash) error {
	return t.held().Admit(ctx, joins...)
}

// SetRole gives an identity another role, on all its devices; one that was removed is a
// member again. What it wrote before, as far as this device has it, stands by its former
// role. An owner gives any, an admin that of a writer or reader. It is durable on return.
func (t *Thread) SetRole(ctx context.Context, identity keys.PublicKey, role Role) error {
	return t.held().SetRole(ctx, identity, role)
}

// RemoveMember ends the membership of an identity, or of one device: what it writes from
// then on counts nowhere, and it cannot read what is written by who knows of it. All open
// invites are closed, as it may know them. Who is no owner or admin removes own devices
// only. It is durable on return.
func (t *Thread) RemoveMember(ctx context.Context, subject keys.PublicKey) error {
	return t.held().RemoveMember(ctx, subject)
}

// Leave ends the membership of this device: nothing that it wrote is lost. The last owner
// cannot leave. It is durable on return.
func (t *Thread) Leave(ctx context.Context) error { return t.held().Leave(ctx) }

// Transfer makes another identity owner in the place of this one, which is no member any
// more. Only an owner can. It is durable on return.
func (t *Thread) Transfer(ctx context.Context, to keys.PublicKey) error {
	return t.held().Transfer(ctx, to)
}

// Rotate begins a new epoch: what is written from then on is sealed with a key that all
// members and the holders of open invites get. Only an owner or admin can. It is durable on
// return.
func (t *Thread) Rotate(ctx context.Context) error { return t.held().Rotate(ctx) }

// WaitingJoins returns the joins that wait until an owner admits them: their invite was
// closed, by hand, as it was used up or as it had expired, before who closed it knew them.
func (t *Thread) WaitingJoins() []WaitingJoin { return t.held().WaitingJoins() }

// Append seals drafts as the next records of this device's data log, signs the
// last, and puts them into tx, which the caller then commits; there is one caller
// at a time. done must be called once, with the outcome of the commit; until then
// the thread takes no other record. first is the arrival number of the first
// record; the others follow. An error leaves the thread as it was and done nil;
// the caller discards tx. [store.ErrTooBig] is one to retry with fewer drafts,
// [ErrClock] one to retry with later times.
func (t *Thread) Append(tx Tx, drafts []Draft) (ids []RecordID, first int64, done func(committed bool), err error) {
	return t.held().Append(tx, drafts)
}

// Arrivals returns the data records that arrived after n, in order, of at least
// one and at most about maxBytes of payload; none if there are none. It includes
// own records.
func (t *Thread) Arrivals(n int64, maxBytes int) ([]Arrival, error) {
	return t.held().Arrivals(n, maxBytes)
}

// Records returns the data records that arrived as the numbers ns, in that order, of
// at least one and at most about maxBytes of payload. What Prune has deleted is left out.
func (t *Thread) Records(ns []int64, maxBytes int) ([]Arrival, error) {
	return t.held().Records(ns, maxBytes)
}

// IDs calls f for the data records that arrived after n, in order, until it
// returns false; snapshot says that the record is of a snapshot log. Numbers that
// Prune has deleted are left out.
func (t *Thread) IDs(n int64, f func(n int64, id RecordID, snapshot bool) bool) error {
	return t.held().IDs(n, f)
}

// Flushed says that everything up to arrival n is folded and durable: own records
// may be sent, other writers' acknowledged. Called again with the same n, it says
// that the state there is known, or is another, now.
func (t *Thread) Flushed(n int64) { t.held().Flushed(n) }

// Attach joins the thread to what folds its data; nil detaches. What State says
// is flushed. If there is a cut already, Voided is called before Attach returns.
func (t *Thread) Attach(a *Attachment) { t.held().Attach(a) }

// Entry returns one data record, opened.
func (t *Thread) Entry(id RecordID) (Entry, error) { return t.held().Entry(id) }

// Heads returns the last position of every data log; of a forked log the highest.
func (t *Thread) Heads() map[LogID]uint64 { return t.held().Heads() }

// Covers reports whether a checkpoint in force covers a data record: its snapshot has what it did.
func (t *Thread) Covers(id RecordID) bool { return t.held().Covers(id) }

// Counts returns how much is held.
func (t *Thread) Counts() Counts { return t.held().Counts() }

// Refused returns the records that are kept and have no effect, control records
// first.
func (t *Thread) Refused() []Refusal { return t.held().Refused() }

// Waiting returns what cannot be judged yet and why, by log.
func (t *Thread) Waiting() ([]Waiting, error) { return t.held().Waiting() }

// Forks returns the forks of all logs, each proved by two signed heads.
func (t *Thread) Forks() ([]Fork, error) { return t.held().Forks() }

// Essence returns what the thread can be opened with again; [ErrNoKeys] says that
// this device is no member, or not yet.
func (t *Thread) Essence() (Essence, error) { return t.held().Essence() }

// Own returns the last durable position of each log of this device.
func (t *Thread) Own() []RecordID { return t.held().Own() }

// Has reports whether a record is held, or was until a checkpoint stood for it.
func (t *Thread) Has(id RecordID) bool { return t.held().Has(id) }

// Prefix begins every key of the store that is of this thread.
func (t *Thread) Prefix() []byte { return t.held().Prefix() }

// Check reads everything that is stored of the thread and reports what is not as it
// was written, in errors of kind corrupt. pace, which may be nil, is told how many
// bytes were read and may wait; its error ends the check. Blobs whose bytes are not what
// their names say are altered; the rest of the thread does not need them.
func (t *Thread) Check(ctx context.Context, pace func(bytes int) error, report func(error), altered func(BlobID, error)) (Checked, error) {
	return t.held().Check(ctx, pace, report, altered)
}

// DropBlobs takes blobs whose bytes are not what their names say off what is held, which it
// looks at again, and has all peers asked for them. It returns how many they were.
func (t *Thread) DropBlobs(ctx context.Context, ids ...BlobID) (int, error) {
	return t.share.dropBlobs(ctx, ids...)
}

// RetakeBlobs takes back blobs that were dropped and whose files are whole again, and
// returns how many.
func (t *Thread) RetakeBlobs(ctx context.Context) (int, error) { return t.held().RetakeBlobs(ctx) }

// LackingBlobs returns how many blobs were dropped and are not back.
func (t *Thread) LackingBlobs() int64 { return t.held().LackingBlobs() }

// LackedBlobs returns at most limit of the blobs that were dropped and are not back, by ID;
// 0 is all.
func (t *Thread) LackedBlobs(limit int) ([]Lack, error) { return t.held().LackedBlobs(limit) }

// HasBlob reports whether a blob is held.
func (t *Thread) HasBlob(id BlobID) bool { return t.held().HasBlob(id) }

// MayCheckpoint returns nil if this device is the one that may cut the thread's
// history: the one that made it.
func (t *Thread) MayCheckpoint() error { return t.held().MayCheckpoint() }

// Cover returns what was folded up to arrival n, which must be the last that was
// said to be flushed, for a checkpoint; nothing if no data was written since the
// last one.
func (t *Thread) Cover(n int64) (*Coverage, error) { return t.held().Cover(n) }

// Checkpoint cuts the history up to cover. The payloads that snapshot adds stand
// in its place; it returns their state hash. The checkpoint is durable on return;
// an error leaves a snapshot log without effect at most, which the next covers.
func (t *Thread) Checkpoint(ctx context.Context, cover *Coverage, snapshot func(add func(payload []byte) error) (Hash, error)) error {
	return t.held().Checkpoint(ctx, cover, snapshot)
}

type (
	// A Kept says what of a thread is cut off and is still to be kept.
	Kept = thread.Kept
	// An Objection is what the device of an owner or admin said of a checkpoint: its own
	// history gives another state.
	Objection = thread.Objection
)

// Kept says what is cut off and is still to be kept, and until when.
func (t *Thread) Kept() Kept { return t.held().Kept() }

// PruneDue reports whether Prune may delete what it did not when it was called last.
func (t *Thread) PruneDue() bool { return t.held().PruneDue() }

// Vouch says of another device's checkpoint, by the log of its snapshot, whether the history
// here gave the same state, if this device is of an owner or admin; or else which it gave.
func (t *Thread) Vouch(ctx context.Context, snapshot LogID, agree bool, state Hash) error {
	return t.held().Vouch(ctx, snapshot, agree, state)
}

// Prune deletes the records that are cut off and need not be kept, and reports how many. Call it when
// they are folded and the cut has been taken over, so that nobody asks for them.
func (t *Thread) Prune(ctx context.Context) (records int64, err error) { return t.held().Prune(ctx) }

// PutBlob seals plain, of at most MaxBlob bytes, and stores it. It is durable on
// return. Equal plaintexts give the same ID.
func (t *Thread) PutBlob(ctx context.Context, plain []byte) (BlobID, error) {
	return t.held().PutBlob(ctx, plain)
}

// PutBlobs is PutBlob for several, with one sync of the store.
func (t *Thread) PutBlobs(ctx context.Context, plains [][]byte) ([]BlobID, error) {
	return t.held().PutBlobs(ctx, plains)
}

// HoldBlobs keeps CollectBlobs from deleting what its caller stores, or finds named, until
// release, which may be called twice.
func (t *Thread) HoldBlobs() (release func()) { return t.held().HoldBlobs() }

// MissingBlobs returns an error of kind corrupt that names a blob whose file is not there,
// nil if all are. It reads no file.
func (t *Thread) MissingBlobs() error { return t.held().MissingBlobs() }

// BlobNames finds the names of blobs in what only the layers above can read.
type BlobNames = thread.BlobNames

// CollectBlobs deletes the blobs that no record names which the thread keeps, and reports
// how many and their sealed bytes. It returns [ErrBlobsHeld], and deletes nothing, if they
// are held for long.
func (t *Thread) CollectBlobs(ctx context.Context, names BlobNames) (count, bytes int64, err error) {
	return t.held().CollectBlobs(ctx, names)
}

// Blob returns the plaintext of a blob that is held here, verified; ErrNotFound if
// it is not.
func (t *Thread) Blob(ctx context.Context, id BlobID) ([]byte, error) {
	return t.held().Blob(ctx, id)
}
