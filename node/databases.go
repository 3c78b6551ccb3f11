package node

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weftdb/weft/node/internal/handle"
	"github.com/weftdb/weft/node/internal/rows"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/net"
	"github.com/weftdb/weft/node/internal/shortfall"
)

// mailboxName is the database of the node's own mailbox. Its name is none that
// [checkName] lets anybody give.
const mailboxName = "@mailbox"

// A databaseRow is what the store keeps of a database, under its name.
type databaseRow struct {
	ID     string `json:"id"`     // of the thread
	Number uint64 `json:"number"` // of its keys in the store; never given twice

	forgotten bool // only the note has it
}

// A database joins a thread to the fold of its records, which is opened when it
// is first needed.
type database struct {
	n      *Node
	name   string
	number uint64
	thread *net.Thread

	handle.Handle             // of the fold
	needed        atomic.Bool // a need has not begun

	rebuilding atomic.Bool         // it is not served before its peers have given what they hold
	rebuilt    chan struct{}       // closed when it is not rebuilding any more
	short      shortfall.Shortfall // what did not come back; read after rebuilt is closed

	cutMu sync.Mutex // guards the fields below
	cut   net.Cut    // what of the thread does not count, as told last
	told  int        // how often that was told; 0: it is not known
	taken int        // of these, the last that the fold has taken over
	kept  bool       // the fold has refused the last that was told

	cutting    sync.Mutex // held while cut is taken into the fold
	compacting sync.Mutex // held by Compact
}

// A DatabaseRef names a database of the node.
type DatabaseRef struct {
	ID     net.ThreadID
	Name   string
	Damage string // why it is not served; "" if it is
	Lost   string // what it is served without: lost in a repair of the last 30 days, or lacking
}

// checkName checks the name of a database.
func checkName(name string) error {
	ok := len(name) >= 1 && len(name) <= 63
	for i := range len(name) {
		c := name[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		ok = ok && (letter || i > 0 && (c == '-' || c == '_' || c == '.'))
	}
	if !ok {
		return fault.Of(ErrName, "invalid database name %.80q: want 1 to 63 letters, digits, dots, dashes and underscores, beginning with a letter or digit", name)
	}
	return nil
}

// foldPrefix begins the keys of a database's fold.
func foldPrefix(number uint64) []byte {
	p := []byte{prefixFold}
	for ; number >= 0x80; number >>= 7 {
		p = append(p, byte(number)|0x80)
	}
	return append(p, byte(number))
}

// foldNumber returns the number of the database whose fold a key is of.
func foldNumber(key []byte) (number uint64, ok bool) {
	number, n := binary.Uvarint(key[1:])
	return number, n > 0
}

// openDatabases finds the databases of the store and joins their threads. One that is
// damaged does not keep the node from the others. Removals that a crash cut short come
// first: a thread that is left of one would else get a name again.
func (n *Node) openDatabases(ctx context.Context) error {
	if err := n.finishRemovals(ctx); err != nil && !errors.Is(err, store.ErrDiskFull) {
		return err
	}
	all, err := n.listed()
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		n.join(name, all[name])
	}
	return nil
}

// attach makes a thread a database of the node. It is in the list before Attach, which may
// tell of a cut at once, and only a database in the list can be found damaged.
func (n *Node) attach(name string, number uint64, t *net.Thread) *database {
	d := &database{n: n, name: name, number: number, thread: t, rebuilt: make(chan struct{})}
	n.mu.Lock()
	n.databases[name] = d
	n.mu.Unlock()
	t.Attach(&net.Attachment{Arrived: d.arrived, State: d.state, Voided: d.voided})
	d.cutMu.Lock()
	if d.told == 0 { // Attach tells only a cut that is not empty
		d.told, d.taken = 1, 1
	}
	d.cutMu.Unlock()
	return d
}

// register gives a thread a name and a number, durably. The number and the name are in one
// transaction, so no number is given twice. A crash before the note is written leaves a
// database that the note lacks, and the next open notes it; an error takes the name away again.
func (n *Node) register(name string, t *net.Thread) (*database, error) {
	tx := n.store.Begin()
	defer tx.Discard()
	last, err := tx.Get([]byte(keyNumber))
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, err
	}
	r := databaseRow{ID: t.ID().String(), Number: 1}
	if len(last) > 0 {
		if r.Number, err = strconv.ParseUint(string(last), 10, 64); err != nil {
			return nil, fmt.Errorf("last database number: %w", err)
		}
		r.Number++
	}
	if err := tx.Put([]byte(keyNumber), strconv.AppendUint(nil, r.Number, 10)); err != nil {
		return nil, err
	}
	if err := rows.Put(tx, prefixDatabase+name, r); err != nil {
		return nil, err
	}
	if err := rows.Commit(n.store, tx); err != nil {
		return nil, err
	}
	d := n.attach(name, r.Number, t)
	if err := n.noteDatabase(d); err != nil {
		return nil, errors.Join(err, n.unregister(d))
	}
	return d, nil
}

// unregister takes the name away from a thread that could not be noted. The note lacks it, and
// what memory has of it there goes with the next write.
func (n *Node) unregister(d *database) error {
	_ = n.note.Remove(d.thread.ID()) // fails as the note of it did
	tx := n.store.Begin()
	defer tx.Discard()
	tx.UseReserve()
	if err := tx.Delete([]byte(prefixDatabase + d.name)); err != nil {
		return err
	}
	if err := rows.Commit(n.store, tx); err != nil {
		return err
	}
	n.mu.Lock()
	delete(n.databases, d.name)
	n.mu.Unlock()
	d.thread.Attach(nil)
	return d.Close()
}

// lookup returns a database that is served by its name.
func (n *Node) lookup(name string) (*database, error) {
	d, err := n.find(name)
	if err == nil && d.rebuilding.Load() {
		return nil, fault.Of(ErrDamaged, "database %s was damaged and is being rebuilt: it is served when a relay or a member has given all that it holds: see weft db status %s", name, name)
	}
	return d, err
}

// find returns a database by its name, also one that is being rebuilt.
func (n *Node) find(name string) (*database, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return nil, ErrClosed
	}
	if bad := n.damaged[name]; bad != nil {
		return nil, bad.refuse()
	}
	d, ok := n.databases[name]
	if !ok {
		return nil, fault.Of(ErrNotFound, "no database is named %.80q", name)
	}
	return d, nil
}

// free returns ErrExists if a database has the name.
func (n *Node) free(name string) error {
	if _, err := n.find(name); err == nil {
		return fault.Of(ErrExists, "database %s already exists", name)
	} else if !errors.Is(err, ErrNotFound) {
		return err
	}
	return nil
}

// CreateDatabase makes a database of the node's identity under a name that no
// other database of the node has, and offers it to the node's relays.
func (n *Node) CreateDatabase(ctx context.Context, name string) (*db.DB, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	return n.createDatabase(ctx, name)
}

// createDatabase also makes the mailbox. naming is held from the look at the name until it
// is given. A crash between leaves a thread without a name, which nameThreads takes up.
func (n *Node) createDatabase(ctx context.Context, name string) (*db.DB, error) {
	n.naming.Lock()
	defer n.naming.Unlock()
	if err := n.free(name); err != nil {
		return nil, err
	}
	t, err := n.host.Create(ctx, name)
	if err != nil {
		return nil, err
	}
	return n.made(ctx, name, t)
}

// made adopts a thread that was just made; or removes it, so that a second try finds its name
// free.
func (n *Node) made(ctx context.Context, name string, t *net.Thread) (*db.DB, error) {
	d, err := n.adopt(ctx, name, t)
	if err == nil {
		return d, nil
	}
	ctx = context.WithoutCancel(ctx)
	if _, missing := n.find(name); missing != nil {
		return nil, errors.Join(err, n.host.Discard(ctx, t.ID()))
	}
	return nil, errors.Join(err, n.remove(ctx, name))
}

// adopt registers a thread of the node and opens it. An error after the registration leaves
// the database there under its name.
func (n *Node) adopt(ctx context.Context, name string, t *net.Thread) (*db.DB, error) {
	d, err := n.register(name, t)
	if err != nil {
		return nil, err
	}
	if err := n.selectRelays(d); err != nil {
		return nil, err
	}
	r, err := d.open(ctx)
	if err != nil {
		return nil, err
	}
	return r.DB, nil
}

// Database returns an open database by its name, or ErrNotFound.
func (n *Node) Database(ctx context.Context, name string) (*db.DB, error) {
	d, err := n.lookup(name)
	if err != nil {
		return nil, err
	}
	r, err := d.open(ctx)
	if err != nil {
		return nil, err
	}
	return r.DB, nil
}

// DatabaseRef returns the ID and name of a database, or ErrNotFound.
func (n *Node) DatabaseRef(name string) (DatabaseRef, error) {
	d, err := n.find(name)
	if err != nil {
		return DatabaseRef{}, err
	}
	return DatabaseRef{ID: d.thread.ID(), Name: d.name}, nil
}

// Databases returns the databases of the node by name, those that are not served too.
func (n *Node) Databases() []DatabaseRef { return n.Own().Databases() }

// all returns every database, the mailbox included, by name.
func (n *Node) all() []*database {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.SortedFunc(maps.Values(n.databases), func(a, b *database) int { return cmp.Compare(a.name, b.name) })
}

// RemoveDatabase forgets a database and deletes what this node has of it. Its other members
// and relays keep what they have.
func (n *Node) RemoveDatabase(ctx context.Context, name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	return n.removeDatabase(ctx, name)
}

// removeDatabase also removes one of another space. Before the transaction nothing has changed
// but the note, which the next open sets right; after it the next open completes what is left, or
// this node when there is room. It may use the store's reserve: on a full disk it gives room.
func (n *Node) removeDatabase(ctx context.Context, name string) error {
	n.naming.Lock()
	defer n.naming.Unlock()
	return n.remove(ctx, name)
}

// remove is removeDatabase with naming held.
func (n *Node) remove(ctx context.Context, name string) error {
	id, number, err := n.numberOf(name)
	if err != nil {
		return err
	}
	// The note first: a database that only the note has is taken for lost.
	if err := n.note.Remove(id); err != nil {
		return err
	}
	tx := n.store.Begin()
	defer tx.Discard()
	tx.UseReserve()
	if err := tx.Delete([]byte(prefixDatabase + name)); err != nil {
		return err
	}
	if err := rows.Put(tx, prefixRemoved+id.String(), number); err != nil {
		return err
	}
	if err := rows.Commit(n.store, tx); err != nil {
		return err
	}
	n.mu.Lock()
	d := n.databases[name]
	delete(n.databases, name)
	delete(n.damaged, name)
	n.mu.Unlock()
	if d != nil {
		d.thread.Attach(nil)
		if err := d.Close(); err != nil {
			return err
		}
	}
	if err := n.erase(ctx, id, number); !errors.Is(err, store.ErrDiskFull) {
		return err
	}
	return nil // it is removed, and finishRemovals gives its room back
}

// numberOf returns the thread and the number of a database, damaged or not.
func (n *Node) numberOf(name string) (net.ThreadID, uint64, error) {
	n.mu.Lock()
	bad := n.damaged[name]
	n.mu.Unlock()
	if bad != nil {
		return bad.id, bad.number, nil
	}
	d, err := n.find(name)
	if err != nil {
		return net.ThreadID{}, 0, err
	}
	return d.thread.ID(), d.number, nil
}

// erase deletes what is left of a removed database, and then the note of it. In this order
// a crash leaves the note of the removal, by which erase runs again; so does a disk whose
// reserve is used up.
func (n *Node) erase(ctx context.Context, id net.ThreadID, number uint64) error {
	err := n.host.Discard(ctx, id)
	if err == nil {
		err = store.DeleteAll(n.store, foldPrefix(number))
	}
	if err == nil {
		err = store.DeleteAll(n.store, []byte(prefixRemoved+id.String()))
	}
	return err
}

// finishRemovals completes removals that a crash or a full disk cut short.
func (n *Node) finishRemovals(ctx context.Context) error {
	left, failed := map[net.ThreadID]uint64{}, error(nil)
	err := rows.Each(n.store, prefixRemoved, func(text string, number uint64) error {
		id, err := net.ParseThreadID(text)
		left[id] = number
		return err
	})
	if isDamage(err) {
		n.suffer(fmt.Errorf("the list of removed databases: %w", err))
		err = nil
	}
	for id, number := range left {
		if err := n.erase(ctx, id, number); isDamage(err) {
			n.suffer(fmt.Errorf("what is left of a removed database: %w", err))
		} else {
			failed = errors.Join(failed, err) // the others still have to leave the host
		}
	}
	return cmp.Or(failed, err)
}

// A DatabaseInfo describes a database at one moment.
type DatabaseInfo struct {
	DatabaseRef
	Hash      db.Hash // the state hash
	Documents int64
	Records   int64
	Bytes     int64             // of records, as they are stored and sent
	Heads     map[string]uint64 // position of the head, by log ID in hex
}

// DatabaseInfo describes a database when all that has arrived is folded.
func (n *Node) DatabaseInfo(ctx context.Context, name string) (DatabaseInfo, error) {
	var out DatabaseInfo
	d, err := n.lookup(name)
	if err != nil {
		return out, err
	}
	fold, err := d.open(ctx)
	if err != nil {
		return out, err
	}
	if err := fold.Settle(ctx); err != nil {
		return out, err
	}
	info, counts := fold.Info(), d.thread.Counts()
	out = DatabaseInfo{
		DatabaseRef: DatabaseRef{ID: d.thread.ID(), Name: d.name}, Hash: info.Hash, Documents: info.Documents,
		Records: counts.Records, Bytes: counts.Bytes, Heads: map[string]uint64{},
	}
	for log, seq := range d.thread.Heads() {
		out.Heads[log.String()] = seq
	}
	return out, nil
}

// A PeerStatus says how a database stands with one peer.
type PeerStatus = net.PeerStatus

// A DatabaseStatus says how a database stands with each of its peers.
type DatabaseStatus struct {
	DatabaseRef
	Hash  db.Hash
	Peers []PeerStatus

	Kept      time.Time // until when records that are cut off are kept, if nobody vouches for the cut before; zero: none are
	Objection string    // why they are kept for longer, in one sentence
}

// DatabaseStatus says how a database stands with each peer now. The channel is closed when
// that may have changed. The channel is taken before the status is read, so that a change
// in between closes it.
func (n *Node) DatabaseStatus(ctx context.Context, name string) (DatabaseStatus, <-chan struct{}, error) {
	var out DatabaseStatus
	d, err := n.find(name)
	if err != nil {
		return out, nil, err
	}
	fold, err := d.open(ctx)
	if err != nil {
		return out, nil, err
	}
	changed := d.thread.StatusChanged()
	_, hash := fold.StateHash()
	until, objection := d.keeps()
	return DatabaseStatus{
		DatabaseRef: DatabaseRef{ID: d.thread.ID(), Name: d.name}, Hash: hash, Peers: d.thread.Status(), Kept: until, Objection: objection,
	}, changed, nil
}

// WaitSynced waits until a database is identical with each of its relays and each member that
// is connected, with one of them at least, and until what has arrived can be read. ctx bounds
// it; then the error says for whom it waited.
func (n *Node) WaitSynced(ctx context.Context, name string) error {
	for {
		s, changed, err := n.DatabaseStatus(ctx, name)
		if err != nil {
			return err
		}
		waits := s.unsynced()
		if waits == "" {
			break
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("database %s: %s: %w", name, waits, ctx.Err())
		}
	}
	d, err := n.Database(ctx, name)
	if err != nil {
		return err
	}
	return d.Settle(ctx)
}

// unsynced says which peer WaitSynced waits for; "" is none.
func (s DatabaseStatus) unsynced() string {
	same := 0
	for _, p := range s.Peers {
		switch {
		case p.State == net.StateIdentical:
			same++
		case p.Role == "relay" || p.State != net.StateUnreachable:
			return strings.TrimSpace(fmt.Sprintf("%s %s is %s: %s", p.Role, p.Peer, p.State, p.Reason))
		}
	}
	if same == 0 {
		return "no relay and no member is connected"
	}
	return ""
}

// RunCommand runs a MongoDB command document on a database, as
// [github.com/weftdb/weft/db/command.Runner.Reply] does; told is the error of a reply with
// ok: 0. Cursors and transactions that it leaves open are the node's.
func (n *Node) RunCommand(ctx context.Context, database string, command bson.Raw) (reply bson.Raw, told, err error) {
	d, err := n.lookup(database)
	if err != nil {
		return nil, nil, err
	}
	r, err := d.open(ctx)
	if err != nil {
		return nil, nil, err
	}
	return r.Reply(ctx, command)
}
