package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weftdb/weft/node/internal/rows"

	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/internal/store/engines"
	"github.com/weftdb/weft/net"
	"github.com/weftdb/weft/node/internal/addrs"
	"github.com/weftdb/weft/node/internal/check"
	"github.com/weftdb/weft/node/internal/homedir"
)

// A home is repaired in a copy of its store, which takes the store's place when it is
// whole. Until then the store is as it was, to the byte, and an interrupted repair
// begins anew.
//
//	check      a clone, as opening writes; nothing is damaged: nothing is done
//	mend       only blobs are: they are dropped, the store stays, and the wait follows
//	salvage    every pair that can be read, into store.repaired
//	rebuild    each damaged database: a new thread of the same ID, into which goes what
//	           of the old one still holds; what is folded, from that
//	suspect    each other database that may have lost its last records
//	swap       store → store.damaged-TIME, store.repaired → store
//	wait       relays and members give the rest; then the database is served again;
//	           and blobs that are lacking
//
// After it every thread goes on in new logs, as after a restore: the device may have
// written more than what is left.

// RepairOptions say how a home is repaired.
type RepairOptions struct {
	Home       string // the data folder; no process may have it open
	Passphrase []byte // of sealed key files
	// Wait is how long to wait for relays and members to give what is not here; 0
	// means two minutes. What comes later comes whenever the node runs.
	Wait time.Duration
	// AsIs serves what is left here, without waiting for relays and members.
	AsIs bool
	Tell func(text string) // is told what is waited for; may be nil
	// Rescue, which may be nil, is called before anything is changed, with a node of a copy of
	// the store and the names of the databases that are damaged: what is read of them there may
	// be more than what a repair leaves, as documents can be whole whose records are not.
	Rescue func(ctx context.Context, n *Node, databases []string) error
	Log    *slog.Logger // nil discards
}

// What a repair says it did.
type (
	// A Repair says what [RepairHome] did.
	Repair = check.Repair
	// A RebuiltDatabase is a database that was damaged, or that may have lost something.
	RebuiltDatabase = check.RebuiltDatabase
	// A RebuiltThread is a thread that is kept for others and was damaged.
	RebuiltThread = check.RebuiltThread
)

// RepairHome repairs a home whose store is damaged. What it does not find damaged it
// leaves as it is.
func RepairHome(ctx context.Context, o RepairOptions) (out Repair, err error) {
	out = Repair{Unread: []string{}, Databases: []RebuiltDatabase{}, Lost: []string{}, Threads: []RebuiltThread{}}
	c := Config{Home: o.Home, Passphrase: o.Passphrase, Log: o.Log, Idle: -1}
	h, err := homedir.Open(ctx, o.Home, 0)
	if err != nil {
		return out, err
	}
	c.home = h
	found, opens, err := examine(ctx, c)
	out.Found = found
	switch {
	case err != nil:
	case found.Broken():
		if err = rescue(ctx, c, o, opens, &found); err == nil {
			err = rebuildStore(ctx, c, o, opens, &out)
		}
	case !found.Undamaged() || found.Lacking():
		err = mendBlobs(ctx, c)
	}
	if err == nil && o.AsIs {
		err = serveAsIs(ctx, c, &out)
	}
	if err = errors.Join(err, h.Close()); err != nil {
		return out, err
	}
	for _, d := range out.Found.Databases { // a repair of before has not ended
		if d.Rebuilding && !o.AsIs && !slices.ContainsFunc(out.Databases, func(b RebuiltDatabase) bool { return b.ID == d.ID }) {
			out.Databases = append(out.Databases, RebuiltDatabase{Name: d.Name, ID: d.ID, Records: d.Records, Lost: []string{}})
		}
	}
	c.home = nil
	return out, awaitRebuilt(ctx, c, o, &out)
}

// examine checks a home; that its store does not open is a finding. An engine that opens
// a store writes to it, and may take away what a salvage needs: a clone is checked.
func examine(ctx context.Context, c Config) (d Diagnosis, opens bool, err error) {
	dir, err := c.home.CloneStore()
	if err != nil {
		return d, false, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(c.home.Path(dir))) }()
	c.offline, c.storeDir = true, dir
	// What is said is said of the store.
	name := func(all []string) {
		for i := range all {
			all[i] = strings.ReplaceAll(all[i], c.home.Path(dir), c.home.Path(homedir.DirStore))
		}
	}
	n, err := Open(ctx, c)
	if isDamage(err) {
		now := time.Now().UTC()
		d = Diagnosis{Began: now, Ended: now, Damage: []string{plain(err)}, Databases: []DatabaseDiagnosis{}}
		name(d.Damage)
		return d, false, nil
	}
	if err != nil {
		return d, false, err
	}
	d, err = n.Check(ctx, CheckOptions{})
	name(d.Damage)
	for _, b := range d.Databases {
		name(b.Damage)
	}
	if err == nil {
		err = n.keepDiagnosis(&d)
	}
	if cerr := n.Close(); !isDamage(cerr) {
		err = errors.Join(err, cerr)
	}
	return d, true, err
}

// rescue has the caller read what it can of the databases that are damaged.
func rescue(ctx context.Context, c Config, o RepairOptions, opens bool, found *Diagnosis) (err error) {
	var names []string
	for _, d := range found.Databases {
		if len(d.Damage) > 0 {
			names = append(names, d.Name)
		}
	}
	if o.Rescue == nil || !opens || len(names) == 0 {
		return nil
	}
	dir, err := c.home.CloneStore()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(c.home.Path(dir))) }()
	c.offline, c.storeDir = true, dir
	n, err := Open(ctx, c)
	if err != nil {
		return err
	}
	err = o.Rescue(ctx, n, names)
	if cerr := n.Close(); !isDamage(cerr) {
		err = errors.Join(err, cerr)
	}
	return err
}

// mendBlobs drops the blobs that are damaged, and takes back what is whole again, where
// nothing else is damaged: the store stays.
func mendBlobs(ctx context.Context, c Config) error {
	c.offline = true
	n, err := Open(ctx, c)
	if err != nil {
		return err
	}
	_, err = n.Check(ctx, CheckOptions{Logs: true, Mend: true})
	return errors.Join(err, n.Close())
}

// rebuildStore makes a whole store of what is left and puts it in the store's place. opens
// says that the damaged one can be opened. From the file REPAIRED on the new store is
// whole. A crash between the two renames leaves no store at all, and the next open takes
// the repaired one; a crash before leaves the damaged one as it was.
func rebuildStore(ctx context.Context, c Config, o RepairOptions, opens bool, out *Repair) (err error) {
	h := c.home
	if err := os.RemoveAll(h.Path(homedir.DirRepaired)); err != nil {
		return fmt.Errorf("repair: %w", err)
	}
	whole := false // what was repaired is complete, and is removed no more
	defer func() {
		if err != nil && !whole {
			err = errors.Join(err, os.RemoveAll(h.Path(homedir.DirRepaired)))
		}
	}()
	if err := h.CheckRoom(); err != nil {
		return err
	}
	left := remains{opened: opens}
	if left.end, err = store.Witnessed(h.Path(homedir.DirStore)); err != nil && !isDamage(err) {
		return fmt.Errorf("repair: %w", err)
	}
	if left.unread, err = salvage(ctx, h, out); err != nil {
		return err
	}
	if err := h.CopyNote(homedir.DirRepaired); err != nil {
		return err
	}
	c.offline, c.storeDir = true, homedir.DirRepaired
	n, err := Open(ctx, c)
	if err != nil {
		return err
	}
	err = n.rebuildDamaged(ctx, left, o, out)
	if err == nil && (len(left.unread) > 0 || !left.opened) {
		n.doubtKept(out)
	}
	if err = errors.Join(err, n.Close()); err != nil {
		return err
	}
	if err := h.Swap().Complete(); err != nil {
		return err
	}
	whole = true
	out.Kept = h.FreePath(homedir.DirDamaged + time.Now().UTC().Format("20060102T150405Z"))
	if err := h.Swap().Exchange(out.Kept); err != nil {
		return err
	}
	// What the last check found was of the other store.
	if err := os.Remove(h.Path(homedir.FileCheck)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("repair: %w", err)
	}
	return nil
}

// salvage copies what can be read of the store into a new one, and returns what cannot. The
// device may have written more than what is left, so every thread goes on in new logs
// (net.Restored).
func salvage(ctx context.Context, h *homedir.Home, out *Repair) (unread []store.Damage, err error) {
	engine, err := engines.Engine(h.Path(homedir.DirStore))
	if err != nil {
		engine = "" // nothing says which
	}
	to, err := engines.Open(h.Path(homedir.DirRepaired), &engines.Options{Engine: engine})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, to.Close()) }()
	w := engines.NewWriter(to)
	unread, err = engines.Salvage(ctx, h.Path(homedir.DirStore), w.Put)
	for _, d := range unread {
		if text := plain(d.Err); !slices.Contains(out.Unread, text) {
			out.Unread = append(out.Unread, text)
		}
	}
	if err = errors.Join(err, w.Close()); err != nil {
		return unread, fmt.Errorf("salvage: %w", err)
	}
	return unread, errors.Join(net.Restored(to), renumber(to))
}

// renumber makes sure that the next database gets a number which nothing has.
func renumber(st store.Store) error {
	tx := st.Begin()
	defer tx.Discard()
	last, err := tx.Get([]byte(keyNumber))
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	was, _ := strconv.ParseUint(string(last), 10, 64)
	used := was
	r := store.Prefix([]byte{prefixFold})
	r.KeysOnly = true
	it := tx.Iterate(r)
	for it.Valid() {
		number, ok := foldNumber(it.Key())
		if !ok {
			it.Next()
			continue
		}
		used = max(used, number)
		it.Seek(store.PrefixEnd(foldPrefix(number)))
	}
	err = it.Err()
	it.Close()
	if err == nil {
		err = rows.EachIn(tx, prefixDatabase, func(_ string, r databaseRow) error {
			used = max(used, r.Number)
			return nil
		})
	}
	if err != nil || used == was {
		return err
	}
	if err := tx.Put([]byte(keyNumber), strconv.AppendUint(nil, used, 10)); err != nil {
		return err
	}
	return rows.Commit(st, tx)
}

// rebuildDamaged rebuilds every damaged database of an offline node, and has those that
// may have lost something ask their peers.
func (n *Node) rebuildDamaged(ctx context.Context, left remains, o RepairOptions, out *Repair) error {
	if err := n.restoreRelays(); err != nil {
		return err
	}
	n.mu.Lock()
	n.harm = slices.DeleteFunc(n.harm, func(err error) bool { return errors.Is(err, errLostRelay) }) // it may be back
	n.mu.Unlock()
	if err := n.compareRelays(); err != nil {
		return err
	}
	if _, err := n.Check(ctx, CheckOptions{Mend: true}); err != nil {
		return err
	}
	n.mu.Lock()
	bad := maps.Clone(n.damaged)
	others := maps.Clone(n.lost)
	n.mu.Unlock()
	whole := n.all()
	for _, name := range slices.Sorted(maps.Keys(bad)) {
		delete(others, bad[name].id)
		b, err := n.rebuild(ctx, bad[name], left, o)
		if err != nil {
			return fmt.Errorf("rebuild database %s: %w", name, err)
		}
		out.Databases = append(out.Databases, b)
	}
	for _, d := range whole {
		if !left.mayLack(n, d.thread, d.thread.Prefix()) || d.rebuilding.Load() {
			continue
		}
		b, err := n.suspect(ctx, d, o)
		if err != nil {
			return fmt.Errorf("database %s: %w", d.name, err)
		}
		out.Databases = append(out.Databases, b)
	}
	for id := range others {
		if err := n.rebuildKept(ctx, id); err != nil {
			out.Lost = append(out.Lost, fmt.Sprintf("thread %s, which was kept for others: %v", id, err))
		}
	}
	for _, err := range n.harm {
		out.Lost = append(out.Lost, err.Error())
	}
	return n.noteRelays("") // those that are lost are told, once
}

// restoreRelays takes the relays of the note into a store that has none.
func (n *Node) restoreRelays() error {
	have := 0
	if err := rows.Each(n.store, prefixRelay, func(string, relayRow) error { have++; return nil }); err != nil || have > 0 {
		return err
	}
	tx := n.store.Begin()
	defer tx.Discard()
	for _, r := range n.note.Relays() {
		_, id, err := addrs.Peer(r.Addr)
		if err != nil {
			continue
		}
		if err := rows.Put(tx, prefixRelay+id.String(), relayRow{Addr: r.Addr, Key: r.Key, Databases: r.Databases}); err != nil {
			return err
		}
	}
	return rows.Commit(n.store, tx)
}
