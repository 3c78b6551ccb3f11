package net

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/keys"
)

// A threadEnv is what the threads of one host share.
type threadEnv struct {
	store  store.Store
	device *keys.Device
	cert   *keys.Certificate // of the device; a relay that joins nothing needs none
	clock  *clock.Clock
	codec  *codec
	dir    string // of blob files
	log    *slog.Logger
}

func newThreadEnv(s store.Store, dir string, device *keys.Device, cert *keys.Certificate, c *clock.Clock, log *slog.Logger) (*threadEnv, error) {
	if c == nil {
		c = &clock.Clock{}
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	codec, err := newCodec()
	if err != nil {
		return nil, err
	}
	return &threadEnv{store: s, device: device, cert: cert, clock: c, codec: codec, dir: dir, log: log}, nil
}

func (e *threadEnv) close() { e.codec.close() }

func (e *threadEnv) self() keys.PublicKey { return e.device.Public().Sign }

// Locks of a thread are taken in this order:
//
//	pruning → write → mu → the store's
//	blobStore.write → blobStore.mu → the store's
//	notifyMu → mu
//
// Neither blob lock is taken with mu held, nor the other way round. An Attachment is
// called with at most notifyMu held, so that Arrived and Voided may wait for an
// Append; State is called with none.

// A Thread is the part of a thread that this device holds. It is safe for
// concurrent use, but for [Thread.Append], which has one caller at a time.
type Thread struct {
	env     *threadEnv
	id      ThreadID
	num     uint32 // in the keys of the store
	signed  []byte // genesis
	genesis *genesis
	relay   bool
	blobs   blobStore
	share   *share // the exchange; set by the host before anybody else has t

	pruning sync.Mutex // one Prune at a time; before write

	write sync.Mutex // one writer at a time: held from Append to done, and by ingest

	notifyMu sync.Mutex // one notification at a time; guards lastCut
	lastCut  Cut

	mu         sync.Mutex // guards what follows; may be taken while write is held
	keys       threadKeys
	invite     *Invite // while joining
	logs       map[clock.LogID]*threadLog
	byNum      []*threadLog
	ownControl *threadLog // nil until there is one
	ownData    *threadLog // nil: the next Append opens a new one
	named      map[clock.LogID]clock.Hash
	graph      *controlGraph
	cuts       cuts
	prunedFor  int // checkpoints in force for which a relay has begun to prune
	ownChecked struct {
		log clock.LogID // that ownCovered found to go on
		n   int         // after so many checkpoints
	}
	arrivals  int64 // number of the last arrival
	flushedTo int64 // -1 until the first Flushed or Attach
	pending   []arrivalRef
	cache     arrivalCache
	parked    parkedRuns
	refused   []Refusal
	attached  *Attachment
	changes   chan struct{}
	dirty     bool // something is committed that is not synced
	syncing   bool // the goroutine that syncs runs
	wakeAt    clock.Time
	waker     *time.Timer
	closed    bool

	wg sync.WaitGroup // the goroutines that sync and wake
}

// A threadLog is what is held of one log.
type threadLog struct {
	num      uint32
	id       clock.LogID
	desc     descriptor
	raw      []byte
	branches []*branch
}

func (l *threadLog) forked() bool { return len(l.branches) > 1 }

// An Attachment is what folds a thread's data. Its functions are called without
// any lock of the thread's held, and must not call [Thread.Append] or [Thread.Attach].
type Attachment struct {
	// Arrived says that there are records after the last that Arrivals returned.
	// It is not called for own records.
	Arrived func()
	// State returns the last arrival that is folded and durable, and the state
	// hash there; ok is false if that is not known at the moment.
	State func() (n int64, hash clock.Hash, ok bool)
	// Voided receives, whenever it changes, what of the data that was delivered
	// does not count. It is the same on every replica with the same records.
	Voided func(c Cut)
}

// Counts says how much a thread holds.
type Counts struct {
	Records   int64 // of control and data logs
	Bytes     int64 // of these records, as sent
	Blobs     int64
	BlobBytes int64 // sealed
	Logs      int64
	Arrivals  int64
}

// A Waiting is records that are held, or on hand, but cannot be judged yet.
type Waiting struct {
	First  clock.RecordID // the one that the others wait behind
	Count  int
	Reason string
}

// A Fork is two records that a device wrote at one position of its log, each
// proved by a head that the device signed.
type Fork struct {
	Log    clock.LogID
	Device keys.PublicKey
	Seq    uint64
	Heads  [2]SignedHead // on or after the position, one on each branch
}

// A SignedHead is a device's signature of a record and of all before it.
type SignedHead struct {
	ID        clock.RecordID
	Signature keys.Signature
}

// ID returns the thread's ID.
func (t *Thread) ID() ThreadID { return t.id }

// Name returns the name that the thread was opened with; "" until that is known.
func (t *Thread) Name() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.graph.state.name
}

// Relay reports whether this node holds the thread as a relay, without the read
// key.
func (t *Thread) Relay() bool { return t.relay }

// Genesis returns the signed genesis, which the thread ID is the hash of.
func (t *Thread) Genesis() []byte { return slices.Clone(t.signed) }

// Owner returns the identity that made the thread.
func (t *Thread) Owner() keys.PublicKey { return t.genesis.Owner }

// serviceKey returns the key that control logs are sealed with.
func (t *Thread) serviceKey() secretKey {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.keys.Service
}

// joined reports whether the thread can be read and written here: false on a
// relay and while a join is under way.
func (t *Thread) joined() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.keys.canRead()
}

func (t *Thread) isClosed() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.closed
}

// pendingInvite returns the invite that a join under way uses.
func (t *Thread) pendingInvite() (Invite, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.invite == nil {
		return Invite{}, false
	}
	return *t.invite, true
}

// Members returns the members by device, oldest first.
func (t *Thread) Members() []Member {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := make([]Member, 0, len(t.graph.state.members))
	for _, m := range t.graph.state.members {
		all = append(all, *m)
	}
	slices.SortFunc(all, func(a, b Member) int {
		return cmp.Or(cmp.Compare(a.Since, b.Since), bytes.Compare(a.Device[:], b.Device[:]))
	})
	return all
}

// member returns what the thread knows of a device.
func (t *Thread) member(device keys.PublicKey) (Member, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	m, ok := t.graph.state.members[device]
	if !ok {
		return Member{}, false
	}
	return *m, true
}

// Heads returns the last position of every data log, for `info`; of a forked log
// the highest.
func (t *Thread) Heads() map[clock.LogID]uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	heads := make(map[clock.LogID]uint64)
	for _, l := range t.byNum {
		for _, b := range l.branches {
			if l.desc.Kind == kindData {
				heads[l.id] = max(heads[l.id], b.tip.Seq)
			}
		}
	}
	return heads
}

// Counts returns how much is held.
func (t *Thread) Counts() Counts {
	c := Counts{}
	c.Blobs, c.BlobBytes = t.blobs.counts()
	t.mu.Lock()
	defer t.mu.Unlock()
	c.Logs, c.Arrivals = int64(len(t.byNum)), t.arrivals
	for _, l := range t.byNum {
		for _, b := range l.branches {
			c.Records += b.records
			c.Bytes += b.bytes
		}
	}
	return c
}

// Refused returns the records that are kept and have no effect, control records
// first.
func (t *Thread) Refused() []Refusal {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append(slices.Clone(t.graph.state.refused), t.refused...)
}

func (t *Thread) collect(of func(*branch) clock.RecordID) []clock.RecordID {
	t.mu.Lock()
	defer t.mu.Unlock()
	ids := make([]clock.RecordID, 0, len(t.byNum))
	for _, l := range t.byNum {
		for _, b := range l.branches {
			if id := of(b); id.Seq > t.cuts.floor(l.id).Seq {
				ids = append(ids, id)
			}
		}
	}
	slices.SortFunc(ids, compareID)
	return slices.Compact(ids)
}

func compareID(a, b clock.RecordID) int {
	return cmp.Or(bytes.Compare(a.Log[:], b.Log[:]), cmp.Compare(a.Seq, b.Seq), bytes.Compare(a.Hash[:], b.Hash[:]))
}

// heads returns the tips of all branches of all logs, sorted: what this node has
// and need not be sent.
func (t *Thread) heads() []clock.RecordID {
	return t.collect(func(b *branch) clock.RecordID { return b.tip })
}

// sendable is like heads, of what may be sent: signed, and durable here; data
// also folded, on a member.
func (t *Thread) sendable() []clock.RecordID {
	return t.collect(func(b *branch) clock.RecordID { return b.sent })
}

// ackable is like heads, of what is durable here and, on a member, folded.
func (t *Thread) ackable() []clock.RecordID {
	return t.collect(func(b *branch) clock.RecordID { return b.flushed })
}

// isControl reports whether a log that is held is a control log.
func (t *Thread) isControl(log clock.LogID) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.logs[log]
	return l != nil && l.desc.Kind == kindControl
}

// has reports whether a record is held.
func (t *Thread) has(id clock.RecordID) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.logs[id.Log]
	if id.Seq <= t.cuts.floor(id.Log).Seq {
		return true
	}
	if l == nil {
		return false
	}
	snap := t.env.store.Snapshot()
	defer snap.Release()
	return t.held(snap, l, id)
}

// held is has, with the log at hand; mu is held.
func (t *Thread) held(r store.Reader, l *threadLog, id clock.RecordID) bool {
	if id.Seq <= l.start() {
		return true
	}
	var top uint64
	for _, b := range l.branches {
		if b.tip == id {
			return true
		}
		top = max(top, b.tip.Seq)
	}
	if id.Seq > top {
		return false
	}
	_, err := t.readRecord(r, l.num, id)
	return err == nil
}

// readRun returns the records after `after` on the branch that ends in tip, up to
// a signed position that is tip or earlier and, if there is one, within maxBytes.
// A run without records says that there is no such position after `after`.
func (t *Thread) readRun(tip clock.RecordID, after uint64, maxBytes int) (run, error) {
	t.mu.Lock()
	l := t.logs[tip.Log]
	var forked bool
	if l != nil {
		forked = l.forked()
		after = max(after, l.start(), t.cuts.floor(l.id).Seq)
	}
	t.mu.Unlock()
	if l == nil {
		return run{}, fmt.Errorf("%w: log %s", ErrNotFound, tip.Log.Short())
	}
	snap := t.env.store.Snapshot()
	defer snap.Release()
	r := run{Descriptor: l.raw}
	signed, size := 0, 0
	err := t.walk(snap, l, forked, tip, after, func(_ clock.RecordID, s storedRecord) (bool, error) {
		size += s.size() + 6
		if signed > 0 && (size > maxBytes || size > maxRun) {
			return false, nil
		}
		r.Records = append(r.Records, rawRecord{slices.Clone(s.Header), slices.Clone(s.Body)})
		if s.Signed {
			signed, r.Signature = len(r.Records), s.Signature
		}
		return signed < len(r.Records) || size < maxBytes, nil
	})
	if err != nil {
		return run{}, err
	}
	r.Records = r.Records[:signed]
	return r, nil
}

// maxRun is what a run of several records may hold, so that it fits in a frame.
const maxRun = MaxFrame - 16<<10

// changed returns a channel that is closed when heads, sendable or ackable change
// after the call.
func (t *Thread) changed() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.changes
}

// signal wakes whoever waits for a change; mu is held.
func (t *Thread) signal() {
	close(t.changes)
	t.changes = make(chan struct{})
}

// inviteOpen returns nil if the invite lets somebody in at time now, ErrNoInvite
// if it is unknown here, and else an ErrInvite that says why not.
func (t *Thread) inviteOpen(key keys.PublicKey, now clock.Time) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	i := t.graph.state.invites[key]
	if i == nil {
		return ErrNoInvite
	}
	return i.open(now)
}

// Invites returns the invites that members know of, by key.
func (t *Thread) Invites() []InviteInfo {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := make([]InviteInfo, 0, len(t.graph.state.invites))
	for _, i := range t.graph.state.invites {
		all = append(all, *i)
	}
	slices.SortFunc(all, func(a, b InviteInfo) int { return bytes.Compare(a.Key[:], b.Key[:]) })
	return all
}

// Entry returns one data record, opened.
func (t *Thread) Entry(id clock.RecordID) (Entry, error) {
	t.mu.Lock()
	l, k := t.logs[id.Log], t.keys
	t.mu.Unlock()
	if l == nil || l.desc.Kind != kindData {
		return Entry{}, fmt.Errorf("%w: record %s", ErrNotFound, id)
	}
	if !k.canRead() {
		return Entry{}, ErrNoKeys
	}
	snap := t.env.store.Snapshot()
	defer snap.Release()
	s, err := t.readRecord(snap, l.num, id)
	if err != nil {
		return Entry{}, err
	}
	return t.openEntry(k.Read, id, s.rawRecord)
}

// openEntry opens a data record that is held.
func (t *Thread) openEntry(read secretKey, id clock.RecordID, raw rawRecord) (Entry, error) {
	h, err := decodeHeader(raw.Header)
	if err != nil {
		return Entry{}, err
	}
	b, err := parseBody(raw.Body)
	if err != nil {
		return Entry{}, err
	}
	p, err := t.env.codec.open(read, place{t.id, id.Log, id.Seq}, b)
	if err != nil {
		return Entry{}, fmt.Errorf("net: record %s: %w", id, err)
	}
	return Entry{ID: id, Time: h.Time, Atomic: p.Atomic, Payload: p.Payload}, nil
}

// Forks returns the forks of all logs, each proved by two signed heads.
func (t *Thread) Forks() ([]Fork, error) {
	t.mu.Lock()
	type pair struct {
		log *threadLog
		at  [2]branch
	}
	var pairs []pair
	for _, l := range t.byNum {
		for _, b := range l.branches[min(1, len(l.branches)):] {
			pairs = append(pairs, pair{l, [2]branch{*l.branches[0], *b}})
		}
	}
	t.mu.Unlock()
	snap := t.env.store.Snapshot()
	defer snap.Release()
	var forks []Fork
	for _, p := range pairs {
		f := Fork{Log: p.log.id, Device: p.log.desc.Device, Seq: p.at[1].base.Seq + 1}
		var errs [2]error
		for i, b := range p.at {
			f.Heads[i], errs[i] = t.signedHead(snap, p.log, b.signed)
		}
		if err := errors.Join(errs[0], errs[1]); err != nil {
			return nil, err
		}
		if f.Heads[0].ID.Seq >= f.Seq && f.Heads[1].ID.Seq >= f.Seq {
			forks = append(forks, f)
		}
	}
	return forks, nil
}

func (t *Thread) signedHead(r store.Reader, l *threadLog, id clock.RecordID) (SignedHead, error) {
	if id.Seq == 0 {
		return SignedHead{}, nil
	}
	s, err := t.readRecord(r, l.num, id)
	return SignedHead{ID: id, Signature: s.Signature}, err
}
