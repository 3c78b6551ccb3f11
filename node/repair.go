package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/durable"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/internal/store/engines"
	"github.com/weftdb/weft/net"
)

// A home is repaired in a copy of its store, which takes the store's place when it is
// whole. Until then the store is as it was, and an interrupted repair begins anew.
//
//	check      nothing is damaged: nothing is done
//	salvage    every pair that can be read, into store.repaired
//	rebuild    each damaged database: a new thread of the same ID, into which goes what
//	           of the old one still holds; what is folded, from that
//	swap       store → store.damaged-TIME, store.repaired → store
//	wait       relays and members give the rest; then the database is served again
//
// After it every thread goes on in new logs, as after a restore: the device may have
// written more than what is left.

// The names of stores beside the store.
const (
	dirRepaired  = "store.repaired"
	dirDamaged   = "store.damaged-" // ‖ time
	fileRepaired = "REPAIRED"       // in a repaired store that is complete
)

// RepairOptions say how a home is repaired.
type RepairOptions struct {
	Home       string // the data folder; no process may have it open
	Passphrase []byte // of sealed key files
	// Wait is how long to wait for relays and members to give what is not here; 0
	// means two minutes. What comes later comes whenever the node runs.
	Wait time.Duration
	// AsIs serves what is left here, without waiting for relays and members.
	AsIs bool
	Log  *slog.Logger // nil discards
}

// A Repair says what [RepairHome] did.
type Repair struct {
	Found     Diagnosis         `json:"found"`          // before
	Kept      string            `json:"kept,omitempty"` // where the damaged store is, to be removed when it is not needed
	Unread    []string          `json:"unread"`         // what of the store could not be read
	Databases []RebuiltDatabase `json:"databases"`      // those that were damaged
	Lost      []string          `json:"lost"`           // of what no database owns
}

// A RebuiltDatabase is a database that was damaged.
type RebuiltDatabase struct {
	Name    string   `json:"name"`
	ID      string   `json:"id"`
	Records int64    `json:"records"` // that were still here
	Served  bool     `json:"served"`  // false while relays or members have not given what they hold
	Hash    string   `json:"hash,omitempty"`
	Lost    []string `json:"lost"` // what is nowhere in reach
}

// Whole reports whether everything is back.
func (r *Repair) Whole() bool {
	for _, d := range r.Databases {
		if !d.Served || len(d.Lost) > 0 {
			return false
		}
	}
	return len(r.Lost) == 0
}

// RepairHome repairs a home whose store is damaged. What it does not find damaged it
// leaves as it is.
func RepairHome(ctx context.Context, o RepairOptions) (out Repair, err error) {
	out = Repair{Unread: []string{}, Databases: []RebuiltDatabase{}, Lost: []string{}}
	c := Config{Home: o.Home, Passphrase: o.Passphrase, Log: o.Log, Idle: -1}
	h, err := openHome(ctx, o.Home, 0)
	if err != nil {
		return out, err
	}
	c.home = h
	if out.Found, err = examine(ctx, c); err == nil && !out.Found.undamaged() {
		err = rebuildStore(ctx, c, o, &out)
	}
	if err == nil && o.AsIs {
		err = h.serveAsIs()
	}
	if err = errors.Join(err, h.close()); err != nil || o.AsIs {
		return out, err
	}
	for _, d := range out.Found.Databases { // a repair of before has not ended
		if d.Rebuilding && !slices.ContainsFunc(out.Databases, func(b RebuiltDatabase) bool { return b.ID == d.ID }) {
			out.Databases = append(out.Databases, RebuiltDatabase{Name: d.Name, ID: d.ID, Records: d.Records, Lost: []string{}})
		}
	}
	c.home = nil
	return out, awaitRebuilt(ctx, c, o, &out)
}

// serveAsIs has every database served with what is here.
func (h *home) serveAsIs() error {
	n, _, err := openNote(h.path(fileNote))
	if err != nil {
		return err
	}
	for _, d := range n.all() {
		if d.Rebuilding {
			d.Rebuilding = false
			err = errors.Join(err, n.keep(d.databaseNote), n.reached(map[net.ThreadID][]clock.RecordID{d.Thread: nil}))
		}
	}
	return errors.Join(err, n.Close())
}

// examine checks a home; that its store does not open is a finding.
func examine(ctx context.Context, c Config) (d Diagnosis, err error) {
	c.offline = true
	n, err := Open(ctx, c)
	if isDamage(err) {
		now := time.Now().UTC()
		return Diagnosis{Began: now, Ended: now, Damage: []string{err.Error()}, Databases: []DatabaseDiagnosis{}}, nil
	}
	if err != nil {
		return d, err
	}
	d, err = n.Check(ctx, CheckOptions{})
	if cerr := n.Close(); !isDamage(cerr) {
		err = errors.Join(err, cerr)
	}
	return d, err
}

// rebuildStore makes a whole store of what is left and puts it in the store's place.
func rebuildStore(ctx context.Context, c Config, o RepairOptions, out *Repair) (err error) {
	h := c.home
	if err := os.RemoveAll(h.path(dirRepaired)); err != nil {
		return fmt.Errorf("repair: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(h.path(dirRepaired)))
		}
	}()
	if err := h.checkRoom(); err != nil {
		return err
	}
	if err := salvage(ctx, h, out); err != nil {
		return err
	}
	if err := h.copyNote(); err != nil {
		return err
	}
	c.offline, c.storeDir = true, dirRepaired
	n, err := Open(ctx, c)
	if err != nil {
		return err
	}
	err = n.rebuildDamaged(ctx, o, out)
	if err = errors.Join(err, n.Close()); err != nil {
		return err
	}
	if err := writeFile(h.path(dirRepaired, fileRepaired), nil); err != nil {
		return fmt.Errorf("repair: %w", err)
	}
	kept := h.path(dirDamaged + time.Now().UTC().Format("20060102T150405Z"))
	if err := os.Rename(h.path(dirStore), kept); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("repair: %w", err)
	}
	out.Kept = kept
	return h.takeRepaired()
}

// copyNote puts a copy of the note into the repaired store, which says of the
// databases what will be so when that is the home's.
func (h *home) copyNote() error {
	b, err := os.ReadFile(h.path(fileNote))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = writeFile(h.path(dirRepaired, fileNote), b)
	}
	if err != nil {
		return fmt.Errorf("repair: %w", err)
	}
	return nil
}

// takeRepaired puts a repaired store that is complete where there is no store, and
// its note in the place of the note. It finishes what a crash cut short.
func (h *home) takeRepaired() error {
	if _, err := os.Stat(h.path(dirStore)); errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(h.path(dirRepaired, fileRepaired)); err != nil {
			return nil //nolint:nilerr // there is none
		}
		if err := os.Rename(h.path(dirRepaired), h.path(dirStore)); err != nil {
			return fmt.Errorf("repair: %w", err)
		}
	}
	if _, err := os.Stat(h.path(dirStore, fileRepaired)); err != nil {
		return nil //nolint:nilerr // it was not repaired, or long ago
	}
	err := os.Rename(h.path(dirStore, fileNote), h.path(fileNote))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err = errors.Join(err, durable.Folder(h.dir)); err == nil {
		err = os.Remove(h.path(dirStore, fileRepaired))
	}
	if err != nil {
		return fmt.Errorf("repair: %w", err)
	}
	return nil
}

// checkRoom returns an error if the disk has no room for another store.
func (h *home) checkRoom() error {
	var size int64
	err := filepath.WalkDir(h.path(dirStore), func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			size += info.Size()
		}
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("repair: %w", err)
	}
	free, known := freeBytes(h.dir)
	if need := size + size/4 + 16<<20; known && free < need {
		return fault.Of(ErrNoRoom, "a repair writes the store anew and needs %d MiB on the disk that holds %s, which has %d: free some space", need>>20, h.dir, free>>20)
	}
	return nil
}

// salvage copies what can be read of the store into a new one.
func salvage(ctx context.Context, h *home, out *Repair) (err error) {
	engine, err := engines.Engine(h.path(dirStore))
	if err != nil {
		engine = "" // nothing says which
	}
	to, err := engines.Open(h.path(dirRepaired), &engines.Options{Engine: engine})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, to.Close()) }()
	w := engines.NewWriter(to)
	unread, err := engines.Salvage(ctx, h.path(dirStore), w.Put)
	for _, d := range unread {
		out.Unread = append(out.Unread, d.Err.Error())
	}
	if err = errors.Join(err, w.Close()); err != nil {
		return fmt.Errorf("salvage: %w", err)
	}
	return errors.Join(net.Restored(to), renumber(to))
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
		err = eachJSONIn(tx, prefixDatabase, func(_ string, r databaseRecord) error {
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
	return commitSync(st, tx)
}

// rebuildDamaged rebuilds every damaged database of an offline node.
func (n *Node) rebuildDamaged(ctx context.Context, o RepairOptions, out *Repair) error {
	if err := n.restoreRelays(); err != nil {
		return err
	}
	n.harm = nil // of relays that are back
	if err := n.compareRelays(); err != nil {
		return err
	}
	if _, err := n.Check(ctx, CheckOptions{}); err != nil {
		return err
	}
	n.mu.Lock()
	bad := maps.Clone(n.damaged)
	others := maps.Clone(n.lost)
	n.mu.Unlock()
	// Whatever of the store was damaged may have been of a database that looks whole:
	// its peers tell.
	for _, name := range slices.Sorted(maps.Keys(bad)) {
		delete(others, bad[name].id)
		b, err := n.rebuild(ctx, bad[name], out.Unread, o)
		if err != nil {
			return fmt.Errorf("rebuild database %s: %w", name, err)
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
	return nil
}

// restoreRelays takes the relays of the note into a store that has none.
func (n *Node) restoreRelays() error {
	have := 0
	if err := eachJSON(n.store, prefixRelay, func(string, relayRecord) error { have++; return nil }); err != nil || have > 0 {
		return err
	}
	tx := n.store.Begin()
	defer tx.Discard()
	for _, r := range n.note.relayList() {
		addr, err := multiaddr.NewMultiaddr(r.Addr)
		if err != nil {
			continue
		}
		info, err := peer.AddrInfoFromP2pAddr(addr)
		if err != nil {
			continue
		}
		if err := putJSON(tx, prefixRelay+info.ID.String(), relayRecord{Addr: r.Addr, Key: r.Key, Databases: r.Databases}); err != nil {
			return err
		}
	}
	return commitSync(n.store, tx)
}

// rebuild makes a damaged database of what is left of it; unread is what the store
// could not give.
func (n *Node) rebuild(ctx context.Context, bad *damaged, unread []string, o RepairOptions) (RebuiltDatabase, error) {
	out := RebuiltDatabase{Name: bad.name, ID: bad.id.String(), Lost: []string{}}
	e, err := n.essence(bad.id)
	if err != nil {
		out.Lost = append(out.Lost, fmt.Sprintf("the whole database: %v", err))
		return out, nil
	}
	t, got, err := n.host.Reopen(ctx, e)
	if err != nil {
		return out, err
	}
	out.Records = got.Records
	n.mu.Lock()
	delete(n.damaged, bad.name)
	n.mu.Unlock()
	if err := deleteRange(n.store, foldPrefix(bad.number)); err != nil {
		return out, err
	}
	noted, _ := n.note.get(bad.id)
	d, err := n.register(bad.name, t)
	if err != nil {
		return out, err
	}
	lost := lostOf(t, noted.heads)
	if got.Missing > 0 {
		lost = append(lost, fmt.Sprintf("%d records", got.Missing))
	}
	if got.Left > 0 {
		lost = append(lost, fmt.Sprintf("%d records and blobs that are here and do not hold", got.Left))
	}
	complete := len(lost) == 0 && len(unread) == 0
	if d.rebuilding.Store(!complete && !o.AsIs && n.hasPeers(t)); d.rebuilding.Load() {
		return out, n.noteDatabase(d)
	}
	out.Lost = append(out.Lost, lost...)
	fold, err := d.open(ctx)
	if err == nil {
		err = fold.Settle(ctx)
	}
	if err != nil {
		return out, err
	}
	_, hash := fold.StateHash()
	out.Served, out.Hash = true, hash.String()
	return out, nil
}

// hasPeers reports whether somebody else may hold a thread of this node: it has a
// relay or another member, or its control log does not say.
func (n *Node) hasPeers(t *net.Thread) bool {
	members := len(t.Members())
	return len(n.note.relayList()) > 0 || members > 1 || members == 0 && len(n.note.peerList()) > 0
}

// essence returns what a thread can be opened with: from the store, else from the note.
func (n *Node) essence(id net.ThreadID) (net.Essence, error) {
	if noted, ok := n.note.get(id); ok {
		return net.Essence{Genesis: noted.Genesis, Keys: noted.Keys}, nil
	}
	snap := n.store.Snapshot()
	defer snap.Release()
	e, err := net.EssenceIn(snap, id)
	if err != nil {
		return e, fault.Errorf(fault.Corrupt, "neither the store nor the home's note has its keys any more")
	}
	return e, nil
}

// rebuildKept rebuilds a thread that this relay keeps for others.
func (n *Node) rebuildKept(ctx context.Context, id net.ThreadID) error {
	snap := n.store.Snapshot()
	e, err := net.EssenceIn(snap, id)
	snap.Release()
	if err != nil {
		return errors.New("its keys are gone: it comes back when a device offers it again")
	}
	_, _, err = n.host.Reopen(ctx, e)
	return err
}

// lostOf says which records of own logs, as they were noted, are not held.
func lostOf(t *net.Thread, heads []headNote) []string {
	var lost []string
	held := t.Heads()
	for _, h := range heads {
		if shortOf(t, []headNote{h}) != nil {
			lost = append(lost, fmt.Sprintf("records %d to %d of log %s, which this device wrote", held[h.Log]+1, h.Seq, h.Log.Short()))
		}
	}
	return lost
}

// awaitRebuilt runs the repaired home until every database is back, or o.Wait is over.
func awaitRebuilt(ctx context.Context, c Config, o RepairOptions, out *Repair) error {
	if !slices.ContainsFunc(out.Databases, func(d RebuiltDatabase) bool { return !d.Served }) {
		return nil
	}
	n, err := Open(ctx, c)
	if err != nil {
		return err
	}
	wait := o.Wait
	if wait == 0 {
		wait = 2 * time.Minute
	}
	bounded, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for i := range out.Databases {
		b := &out.Databases[i]
		d, err := n.find(b.Name)
		if b.Served || err != nil {
			continue
		}
		select {
		case <-d.rebuilt:
		case <-bounded.Done():
			if d.rebuilding.Load() {
				continue
			}
		}
		b.Served = true
		b.Lost = append(b.Lost, d.lost...)
		fold, err := d.open(ctx)
		if err == nil {
			err = fold.Settle(ctx)
		}
		if err != nil {
			return errors.Join(err, n.Close())
		}
		_, hash := fold.StateHash()
		b.Hash = hash.String()
	}
	return errors.Join(ctx.Err(), n.Close())
}

// startRebuilding goes on with databases that were damaged: each is served when a
// relay or a member has given all that it holds.
func (n *Node) startRebuilding(context.Context) error {
	for _, d := range n.all() {
		if !d.rebuilding.Load() {
			close(d.rebuilt)
			continue
		}
		for _, text := range n.note.peerList() {
			if addr, err := multiaddr.NewMultiaddr(text); err == nil {
				if err := n.host.Expect(addr); err != nil {
					n.log.Warn("a noted peer is not dialled", "address", text, "error", err)
				}
			}
		}
		n.background(func(ctx context.Context) {
			if err := n.finishRebuild(ctx, d); err != nil && ctx.Err() == nil {
				n.log.Error("rebuild", "database", d.name, "error", err)
			}
		})
	}
	return nil
}

// finishRebuild waits until a peer has given all that it holds, and serves the database.
func (n *Node) finishRebuild(ctx context.Context, d *database) error {
	for {
		changed := d.thread.StatusChanged()
		if slices.ContainsFunc(d.thread.Status(), func(p net.PeerStatus) bool {
			return p.State == net.StateIdentical || p.State == net.StateAhead
		}) {
			break
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	noted, _ := n.note.get(d.thread.ID())
	d.lost = lostOf(d.thread, noted.heads)
	d.rebuilding.Store(false)
	defer close(d.rebuilt)
	n.log.Warn("a damaged database is back", "database", d.name, "lost", strings.Join(d.lost, "; "))
	return errors.Join(n.noteDatabase(d), n.noteProgress())
}
