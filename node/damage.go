package node

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/weftdb/weft/node/internal/rows"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/net"
	"github.com/weftdb/weft/node/internal/homedir"
	"github.com/weftdb/weft/node/internal/homenote"
	"github.com/weftdb/weft/node/internal/shortfall"
)

// What is damaged is not served. A database is damaged if the store cannot give what
// is its own, or has not what the home's note says was durable: it is taken out of
// the node, which goes on with the others. Damage in what no database owns is told.
//
//	found at open            a thread that does not open; a database that only the note
//	                         has; an own log that is shorter than it was
//	found by a reader        a key of the database, or what its fold or journal cannot decode
//	found by the scrub       the same, before anybody reads it

// A Damage is what is wrong with a database, or with what no database owns.
type Damage struct {
	Database string       // "" if it is no database's own
	ID       net.ThreadID // with Database "" of a thread that is kept for others; zero if of none
	Reason   string       // one sentence
}

// A damaged is a database that is not served.
type damaged struct {
	name   string
	id     net.ThreadID
	number uint64
	prefix []byte // of its thread's keys; nil if the thread did not open
	err    error
}

// refuse returns why the database is not served.
func (d *damaged) refuse() error {
	return fault.Of(ErrDamaged, "database %s is damaged and not served: %s: run weft doctor", d.name, plain(d.err))
}

// plain returns what an error says without what to do, which is said once.
func plain(err error) string { return strings.ReplaceAll(err.Error(), ": run weft doctor", "") }

// isDamage reports whether an error says that what is stored is not what was written.
func isDamage(err error) bool { return fault.Is(err, fault.Corrupt) }

// setDamaged takes a database that was never served, or is no longer, for damaged. The
// first reason stays: what is met later is often a consequence.
func (n *Node) setDamaged(d *damaged) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.damaged[d.name] == nil {
		n.damaged[d.name] = d
		n.log.Error("a database is damaged", "database", d.name, "error", d.err)
	}
}

// suffer notes damage in what no database owns.
func (n *Node) suffer(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !slices.ContainsFunc(n.harm, func(e error) bool { return e.Error() == err.Error() }) && len(n.harm) < maxHarm {
		n.harm = append(n.harm, err)
		n.log.Error("the store is damaged", "error", err)
	}
}

// maxHarm bounds the list of damage in what no database owns.
const maxHarm = 64

// Damages returns what is known to be damaged, databases first, by name.
func (n *Node) Damages() []Damage {
	n.mu.Lock()
	defer n.mu.Unlock()
	var out []Damage
	ours := map[net.ThreadID]bool{}
	for _, d := range n.damaged {
		ours[d.id] = true
		out = append(out, Damage{Database: d.name, ID: d.id, Reason: plain(d.err)})
	}
	slices.SortFunc(out, func(a, b Damage) int { return cmp.Compare(a.Database, b.Database) })
	for id, err := range n.lost {
		if !ours[id] {
			out = append(out, Damage{ID: id, Reason: fmt.Sprintf("thread %s, which is kept for others: %s", id, plain(err))})
		}
	}
	for _, err := range n.harm {
		out = append(out, Damage{Reason: plain(err)})
	}
	return out
}

// met is called by whoever got an error of a database: if that is damage, the database is
// not served any more. It returns the error. That is done in the background, as the caller
// may be within the fold, whose end is then waited for.
func (d *database) met(err error) error {
	if err == nil || !isDamage(err) {
		return err
	}
	d.n.background(func(context.Context) { d.n.quarantine(d, err) })
	return err
}

// quarantine stops to serve a database and ends its exchange; nothing is deleted. Several
// may find the damage; the one that takes the database off the list ends it.
func (n *Node) quarantine(d *database, why error) {
	n.mu.Lock()
	if n.databases[d.name] != d {
		n.mu.Unlock()
		return
	}
	delete(n.databases, d.name)
	n.mu.Unlock()
	n.setDamaged(&damaged{name: d.name, id: d.thread.ID(), number: d.number, prefix: d.thread.Prefix(), err: why})
	d.thread.Attach(nil)
	err := d.Close()
	if werr := n.host.Withdraw(d.thread.ID()); !errors.Is(werr, net.ErrUnknownThread) {
		err = errors.Join(err, werr)
	}
	if err != nil {
		n.log.Error("closing a damaged database", "database", d.name, "error", err)
	}
}

// quarantineKept stops to exchange a thread that is kept for others; nothing is deleted.
func (n *Node) quarantineKept(id net.ThreadID, why error) error {
	n.log.Error("a thread that is kept for others is damaged", "thread", id, "error", why)
	n.lose(id, why)
	if err := n.host.Withdraw(id); !errors.Is(err, net.ErrUnknownThread) {
		return err
	}
	return nil
}

// metKey is called when a read of key met damage: whose it is is not served any more.
func (n *Node) metKey(key []byte, err error) {
	n.mu.Lock()
	var of *database
	for _, d := range n.databases {
		if d.owns(key) {
			of = d
		}
	}
	n.mu.Unlock()
	if of == nil {
		n.suffer(err)
		return
	}
	_ = of.met(err)
}

// owns reports whether a key of the store is of the database, its thread included.
func (d *database) owns(key []byte) bool {
	return bytes.HasPrefix(key, foldPrefix(d.number)) || bytes.HasPrefix(key, d.thread.Prefix())
}

// lose is told by the host which threads the store cannot give.
func (n *Node) lose(id net.ThreadID, err error) {
	if id == (net.ThreadID{}) {
		n.suffer(err)
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lost[id] = err
}

// startNote opens the home's note of its databases.
func (n *Node) startNote(context.Context) error {
	device := n.self.Device.Public().Sign
	note, was, err := homenote.Open(n.home.Path(n.cfg.storeDir, homedir.FileNote), device[:])
	if err != nil {
		return err
	}
	if was != "" {
		n.log.Warn("the home's note of its databases " + was + ": it is written again from what is left and from the store")
	}
	n.note = note
	return nil
}

// listed returns the databases that the store or the note has, by name, without
// those that are being removed.
func (n *Node) listed() (map[string]databaseRow, error) {
	all, removed := map[string]databaseRow{}, map[string]bool{}
	err := rows.Each(n.store, prefixDatabase, func(name string, r databaseRow) error {
		all[name] = r
		return nil
	})
	unread := err != nil
	if unread {
		if !isDamage(err) {
			return nil, err
		}
		n.suffer(fmt.Errorf("the list of databases: %w", err))
	}
	if err := rows.Each(n.store, prefixRemoved, func(id string, _ uint64) error { removed[id] = true; return nil }); err != nil && !isDamage(err) {
		return nil, err
	}
	known := map[string]bool{}
	for _, r := range all {
		known[r.ID] = true
	}
	for _, d := range n.note.All() {
		id := d.Thread.String()
		if known[id] || removed[id] {
			continue
		}
		r := databaseRow{ID: id, Number: d.Number}
		name := d.Name
		for i := 2; all[name].ID != ""; i++ { // another has its name by now
			name = fmt.Sprintf("%.50s.%d", d.Name, i)
		}
		r.forgotten = !unread
		all[name] = r
	}
	return all, nil
}

// join makes a thread of the host a database of the node, or takes it for damaged.
func (n *Node) join(name string, r databaseRow) {
	id, err := net.ParseThreadID(r.ID)
	if err != nil {
		n.setDamaged(&damaged{name: name, number: r.Number, err: fault.Errorf(fault.Corrupt, "its row in the store is damaged: %v", err)})
		return
	}
	bad := &damaged{name: name, id: id, number: r.Number}
	n.mu.Lock()
	bad.err = n.lost[id]
	n.mu.Unlock()
	t, err := n.host.Thread(id)
	switch {
	case bad.err != nil:
	case r.forgotten:
		bad.err = fault.Errorf(fault.Corrupt, "the home's note has it, the store %s does not", n.home.Path(homedir.DirStore))
	case err != nil:
		bad.err = fault.Errorf(fault.Corrupt, "the store %s does not hold its thread", n.home.Path(homedir.DirStore))
	default:
		noted, _ := n.note.Get(id)
		d := n.attach(name, r.Number, t)
		d.rebuilding.Store(noted.Rebuilding)
		if short := shortfall.Short(t, noted.Heads); short != nil && !noted.Rebuilding {
			n.quarantine(d, short)
		} else if err := errors.Join(n.noteDatabase(d), n.forgetLoss(d)); err != nil {
			n.log.Error("note of a database", "database", name, "error", err)
		}
		return
	}
	if err := n.host.Withdraw(id); err != nil && !errors.Is(err, net.ErrUnknownThread) {
		n.log.Error("withdraw a damaged thread", "database", name, "error", err)
	}
	n.setDamaged(bad)
}

// noteDatabase notes a database, unless the note has it as it is.
func (n *Node) noteDatabase(d *database) error {
	had, ok := n.note.Get(d.thread.ID())
	if ok && had.Name == d.name && had.Number == d.number && had.Rebuilding == d.rebuilding.Load() {
		return n.note.Flush()
	}
	e, err := d.thread.Essence()
	if err != nil {
		return err
	}
	return n.note.Keep(homenote.Database{
		Thread: d.thread.ID(), Number: d.number, Name: d.name, Genesis: e.Genesis, Keys: e.Keys, Rebuilding: d.rebuilding.Load(),
	})
}

// noteProgress notes how far own logs are durable, and where relays and peers are.
func (n *Node) noteProgress() error {
	own := map[net.ThreadID][]clock.RecordID{}
	for _, d := range n.all() {
		if !d.rebuilding.Load() { // what was noted is what is to come back
			own[d.thread.ID()] = d.thread.Own()
		}
	}
	addrs, err := n.host.Remembered()
	peers := make([]string, len(addrs))
	for i, a := range addrs {
		peers[i] = a.String()
	}
	if isDamage(err) {
		err = nil // it is known; what was noted stays
	} else if err == nil {
		err = n.note.SetPeers(peers)
	}
	return errors.Join(n.note.Reached(own), err)
}

// noteEnd notes of a store that was closed that the own logs are noted up to its end, so
// that a repair can tell what it has lost. What was damaged may have more.
func (n *Node) noteEnd() error {
	position, err := store.Witnessed(n.home.Path(cmp.Or(n.cfg.storeDir, homedir.DirStore)))
	if err != nil || position == 0 {
		return err
	}
	return n.note.Complete(position)
}

// noteRelays notes the relays of the node, but for the one with an address.
func (n *Node) noteRelays(without string) error {
	var relays []homenote.Relay
	err := rows.Each(n.store, prefixRelay, func(_ string, r relayRow) error {
		if r.Addr != without {
			relays = append(relays, homenote.Relay{Addr: r.Addr, Key: r.Key, Databases: r.Databases})
		}
		return nil
	})
	if err != nil {
		return err
	}
	return n.note.SetRelays(relays)
}

// errLostRelay reports a relay that only the note has.
var errLostRelay = fault.New(fault.Corrupt, "the store has lost a relay")

// compareRelays compares the relays of the store with those of the note, which are
// noted if none are.
func (n *Node) compareRelays() error {
	noted := n.note.Relays()
	if len(noted) == 0 {
		return n.noteRelays("")
	}
	held := map[string]bool{}
	err := rows.Each(n.store, prefixRelay, func(_ string, r relayRow) error {
		held[r.Addr] = true
		return nil
	})
	if err != nil {
		return err
	}
	for _, r := range noted {
		if !held[r.Addr] {
			n.suffer(fault.Of(errLostRelay, "the store %s has lost relay %s", n.home.Path(homedir.DirStore), r.Addr))
		}
	}
	return nil
}

// noteEvery is how often it is noted how far the own logs are.
const noteEvery = time.Minute

// startNoting begins to note, at a low rate, how far own logs are durable.
func (n *Node) startNoting(context.Context) error {
	n.background(func(ctx context.Context) {
		again := time.NewTicker(noteEvery)
		defer again.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-again.C:
			}
			if err := n.noteProgress(); err != nil {
				n.log.Warn("the home's note is not written", "error", err)
			}
		}
	})
	return nil
}
