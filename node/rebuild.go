package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/multiformats/go-multiaddr"

	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/net"
	"github.com/weftdb/weft/node/internal/check"
	"github.com/weftdb/weft/node/internal/homenote"
	"github.com/weftdb/weft/node/internal/shortfall"
)

// remains are what a salvage knows of the store that it read.
type remains struct {
	unread []store.Damage
	opened bool   // it could be opened: what is damaged can be named
	end    uint64 // the position up to which it was durable; 0: nobody knows
}

// mayLack reports whether records of a thread may be missing that nothing else tells of:
// the note is up to a minute old, and the end of a log that is cut looks like its end.
func (r *remains) mayLack(n *Node, t *net.Thread, prefix []byte) bool {
	if r.opened && prefix != nil && !slices.ContainsFunc(r.unread, func(d store.Damage) bool { return d.Touches(prefix) }) {
		return false
	}
	// What was noted at the end of the store's life is all that this device had written;
	// others can write too.
	noted, ok := n.note.Get(t.ID())
	return !ok || !n.note.CompleteAt(r.end) || len(noted.Heads) == homenote.MaxHeads || len(t.Members()) != 1
}

// rebuild makes a damaged database of what is left of it. It gets a new number, and is
// folded again from what its thread holds; the fold of the old number is deleted. A
// database of which no keys are left is lost, which is no error but told.
func (n *Node) rebuild(ctx context.Context, bad *damaged, left remains, o RepairOptions) (RebuiltDatabase, error) {
	out := RebuiltDatabase{Name: bad.name, ID: bad.id.String(), Lost: []string{}}
	e, err := n.essence(bad.id)
	if err != nil {
		out.Lost = append(out.Lost, fmt.Sprintf("the whole database: %v", err))
		return out, nil
	}
	t, got, err := n.host.Reopen(ctx, e)
	if fault.Is(err, fault.Sealed) {
		out.Lost = append(out.Lost, "the whole database: what the home's note has of it is sealed to another device's key, as in a note of another home")
		return out, n.note.Remove(bad.id)
	}
	if err != nil {
		return out, err
	}
	out.Records = got.Records
	n.mu.Lock()
	delete(n.damaged, bad.name)
	delete(n.lost, bad.id)
	n.mu.Unlock()
	if err := store.DeleteAll(n.store, foldPrefix(bad.number)); err != nil {
		return out, err
	}
	noted, _ := n.note.Get(bad.id)
	d, err := n.register(bad.name, t)
	if err != nil {
		return out, err
	}
	lost := shortfall.Of(t, noted.Heads).Said
	if got.Missing > 0 {
		lost = append(lost, fmt.Sprintf("%d records", got.Missing))
	}
	if got.Left > 0 {
		lost = append(lost, fmt.Sprintf("%d damaged records", got.Left))
	}
	maybe := left.mayLack(n, t, bad.prefix)
	if (len(lost) > 0 || maybe) && !o.AsIs && n.hasPeers(d) {
		d.rebuilding.Store(true)
		return out, n.noteDatabase(d)
	}
	out.Lost, out.Uncertain = append(out.Lost, lost...), maybe
	return out, n.serveAgain(ctx, d, o.AsIs, &out)
}

// suspect has a database that may have lost its last records get them from its peers,
// if it has any.
func (n *Node) suspect(ctx context.Context, d *database, o RepairOptions) (RebuiltDatabase, error) {
	out := RebuiltDatabase{Name: d.name, ID: d.thread.ID().String(), Records: d.thread.Counts().Records, Lost: []string{}}
	if !o.AsIs && n.hasPeers(d) {
		d.rebuilding.Store(true)
		return out, n.noteDatabase(d)
	}
	out.Uncertain = true
	return out, n.serveAgain(ctx, d, o.AsIs, &out)
}

// serveAgain serves a database with what is here, after it has noted what is not.
func (n *Node) serveAgain(ctx context.Context, d *database, asIs bool, out *RebuiltDatabase) error {
	noted, _ := n.note.Get(d.thread.ID())
	short := shortfall.Of(d.thread, noted.Heads)
	out.Noted, out.Gone = short.Noted, short.Gone
	how := uint64(homenote.None)
	switch {
	case short.Gone > 0 && asIs:
		how, out.AsIs = homenote.GivenUp, true
	case short.Gone > 0:
		how = homenote.Gone
	case out.Uncertain:
		how = homenote.Maybe
	}
	if how != homenote.None {
		if err := n.noteLoss(d, how, short); err != nil {
			return err
		}
	}
	d.rebuilding.Store(false)
	if err := n.noteDatabase(d); err != nil {
		return err
	}
	fold, err := d.open(ctx)
	if err == nil {
		err = fold.Settle(ctx)
	}
	if err != nil {
		return err
	}
	_, hash := fold.StateHash()
	out.Served, out.Hash = true, hash.String()
	return nil
}

// serveAsIs has every database that a repair of before left to its peers served with
// what is here.
func serveAsIs(ctx context.Context, c Config, out *Repair) error {
	c.offline = true
	n, err := Open(ctx, c)
	if err != nil {
		return err
	}
	for _, d := range n.all() {
		if !d.rebuilding.Load() {
			continue
		}
		noted, _ := n.note.Get(d.thread.ID())
		b := RebuiltDatabase{Name: d.name, ID: d.thread.ID().String(), Records: d.thread.Counts().Records, Lost: append([]string{}, shortfall.Of(d.thread, noted.Heads).Said...)}
		b.Uncertain = len(b.Lost) == 0 // it waited for what only its peers know
		if err := n.serveAgain(ctx, d, true, &b); err != nil {
			return errors.Join(fmt.Errorf("database %s: %w", d.name, err), n.Close())
		}
		out.Databases = append(out.Databases, b)
	}
	return n.Close()
}

// hasPeers reports whether somebody else may hold a database: a relay that is used for
// it, or another member of its thread; or its control log does not say.
func (n *Node) hasPeers(d *database) bool {
	members := d.thread.Members()
	return slices.ContainsFunc(n.note.Relays(), func(r homenote.Relay) bool {
		return len(r.Databases) == 0 || slices.Contains(r.Databases, d.name)
	}) || slices.ContainsFunc(members, func(m net.Member) bool { return m.Device != n.Device() }) ||
		len(members) == 0 && len(n.note.Peers()) > 0
}

// peersOf names who may hold a database.
func (n *Node) peersOf(d *database) string {
	var who []string
	relays, err := n.relaysOf(d.name)
	for _, r := range relays {
		who = append(who, "relay "+r.Addr.String())
	}
	if others := len(d.thread.Members()) - 1; err != nil || others != 0 {
		who = append(who, "a member")
	}
	return strings.Join(who, " or ")
}

// essence returns what a thread can be opened with: from the note, else from the store.
func (n *Node) essence(id net.ThreadID) (net.Essence, error) {
	if noted, ok := n.note.Get(id); ok {
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
	if _, _, err = n.host.Reopen(ctx, e); err != nil {
		return err
	}
	n.mu.Lock()
	delete(n.lost, id)
	n.mu.Unlock()
	return nil
}

// awaitRebuilt runs the repaired home until every database is back, with all its blobs, or
// o.Wait is over.
func awaitRebuilt(ctx context.Context, c Config, o RepairOptions, out *Repair) error {
	if len(out.Databases) == 0 && out.Found.Undamaged() && !out.Found.Lacking() {
		return nil
	}
	c.offline = o.AsIs
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
		if o.Tell != nil && d.rebuilding.Load() {
			o.Tell(fmt.Sprintf("database %s waits up to %s for %s to give all that it holds: %s here", b.Name, wait, n.peersOf(d), homenote.RecordsText(uint64(b.Records))))
		}
		select {
		case <-d.rebuilt:
		case <-bounded.Done():
			if d.rebuilding.Load() {
				continue
			}
		}
		b.Lost, b.Noted, b.Gone = append(b.Lost, d.short.Said...), d.short.Noted, d.short.Gone
		fold, err := d.open(ctx)
		if err == nil {
			err = fold.Settle(ctx)
		}
		if err != nil {
			return errors.Join(err, n.Close())
		}
		_, hash := fold.StateHash()
		b.Served, b.Hash = true, hash.String()
	}
	for _, d := range n.all() {
		if err := n.awaitLacks(ctx, bounded, d, o, out); err != nil {
			return errors.Join(fmt.Errorf("database %s: %w", d.name, err), n.Close())
		}
	}
	for _, t := range n.kept() {
		lacks, err := lackedBlobs(t)
		if err != nil {
			return errors.Join(err, n.Close())
		}
		if found := check.Of(out.Found.Kept, t.ID().String()); len(found.Damage) > 0 || len(lacks) > 0 {
			id := t.ID().String()
			i := slices.IndexFunc(out.Threads, func(b RebuiltThread) bool { return b.ID == id }) // it may be in doubt already
			if i < 0 {
				i, out.Threads = len(out.Threads), append(out.Threads, RebuiltThread{ID: id})
			}
			out.Threads[i].Lacks = append([]Lack{}, lacks...)
		}
	}
	return errors.Join(ctx.Err(), n.Close())
}

// awaitLacks waits for the blobs that a database lacks, if somebody may have them, and says
// what is lacking then.
func (n *Node) awaitLacks(ctx, bounded context.Context, d *database, o RepairOptions, out *Repair) error {
	i := slices.IndexFunc(out.Databases, func(b RebuiltDatabase) bool { return b.ID == d.thread.ID().String() })
	found, lacking := check.Of(out.Found.Databases, d.thread.ID().String()), d.thread.LackingBlobs()
	if lacking == 0 && len(found.Damage) == 0 && len(found.Lacks) == 0 {
		return nil
	}
	if lacking > 0 && !o.AsIs && n.hasPeers(d) {
		if o.Tell != nil {
			o.Tell(fmt.Sprintf("database %s waits for %s to give what is damaged here: %s not come back", d.name, n.peersOf(d), blocksHave(lacking)))
		}
		awaitBlobs(bounded, d.thread)
	}
	lacks, err := n.lacksOf(ctx, d)
	if err != nil {
		return err
	}
	if i < 0 {
		fold, err := d.open(ctx)
		if err != nil {
			return err
		}
		_, hash := fold.StateHash()
		i = len(out.Databases)
		out.Databases = append(out.Databases, RebuiltDatabase{
			Name: d.name, ID: d.thread.ID().String(), Records: d.thread.Counts().Records, Lost: []string{},
			Served: true, Hash: hash.String(), Earlier: len(found.Damage) == 0,
		})
	}
	out.Databases[i].Lacks = lacks
	return nil
}

// startRebuilding goes on with databases that were damaged: each is served when a
// relay or a member has given all that it holds.
func (n *Node) startRebuilding(context.Context) error {
	for _, d := range n.all() {
		if !d.rebuilding.Load() {
			close(d.rebuilt)
			continue
		}
		for _, text := range n.note.Peers() {
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

// finishRebuild waits until a peer has given all that it holds, and serves the database. In
// the two states that it waits for a peer has nothing that is not here. What is lost is
// noted before the database is served, so that a crash in between does not forget it.
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
	noted, _ := n.note.Get(d.thread.ID())
	d.short = shortfall.Of(d.thread, noted.Heads)
	if d.short.Gone > 0 {
		if err := n.noteLoss(d, homenote.Gone, d.short); err != nil {
			return err
		}
	}
	d.rebuilding.Store(false)
	defer close(d.rebuilt)
	n.log.Warn("a damaged database is back", "database", d.name, "lost", strings.Join(d.short.Said, "; "))
	return errors.Join(n.noteDatabase(d), n.noteProgress())
}
