package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/weftdb/weft/db/replica"
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/durable"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/internal/store/engines"
	"github.com/weftdb/weft/net"
	"github.com/weftdb/weft/node/internal/check"
	"github.com/weftdb/weft/node/internal/homedir"
	"github.com/weftdb/weft/node/internal/journal"
	"github.com/weftdb/weft/node/internal/shortfall"
)

// CheckOptions say how a home is checked.
type CheckOptions struct {
	// Rate bounds how many bytes are read in a second; 0 means as many as can be.
	Rate int64
	// Logs checks logs and blobs only, not what was folded of them: that takes little
	// but reading.
	Logs bool
	// Mend takes blobs that are damaged off what is held, so that peers are asked for
	// them, and takes back those whose files are whole again.
	Mend bool
}

// What a check of a home has found.
type (
	// A Diagnosis is all of it.
	Diagnosis = check.Diagnosis
	// A DatabaseDiagnosis is what it has found of one database, or of a thread that is
	// kept for others.
	DatabaseDiagnosis = check.Database
	// A Lack is a block of files that was damaged and has not come back.
	Lack = check.Lack
)

// Check reads everything in the home and compares it with what it must be: the
// store's files, chains, signatures and bodies of every log, blobs, the note, and
// what is folded with what the logs give. What it finds damaged is not served any
// more. The error is of checking, not of what was found.
func (n *Node) Check(ctx context.Context, o CheckOptions) (Diagnosis, error) {
	out := Diagnosis{Began: time.Now().UTC(), Databases: []DatabaseDiagnosis{}, Damage: []string{}}
	wait := check.Pacer(ctx, o.Rate)
	pace := func(k int) error {
		out.Bytes += int64(k)
		return wait(k)
	}
	for _, d := range n.all() {
		b, err := n.checkDatabase(ctx, d, o, pace)
		if err != nil {
			return out, err
		}
		out.Databases = append(out.Databases, b)
	}
	for _, t := range n.kept() {
		b, err := n.checkKept(ctx, t, o, pace)
		if err != nil {
			return out, err
		}
		out.Kept = append(out.Kept, b)
	}
	if err := n.verifyStore(ctx, o.Rate); err != nil {
		return out, err
	}
	for _, d := range n.Damages() {
		all := &out.Databases
		switch {
		case d.ID == (net.ThreadID{}) && d.Database == "":
			out.Damage = append(out.Damage, d.Reason)
			continue
		case d.Database == "":
			all = &out.Kept
		}
		i := slices.IndexFunc(*all, func(b DatabaseDiagnosis) bool { return b.ID == d.ID.String() && b.Name == d.Database })
		if i < 0 {
			i = len(*all)
			*all = append(*all, DatabaseDiagnosis{Name: d.Database, ID: d.ID.String(), Damage: []string{}})
		}
		if b := &(*all)[i]; !b.Broken {
			b.Add(d.Reason)
			b.Broken, b.Hash = true, ""
		}
	}
	out.Ended = time.Now().UTC()
	return out, n.keepDiagnosis(&out)
}

// verifyStore checks the store's files. Damage is of the databases that it keeps from being
// read, else the store's. A file that is damaged may hold what nobody needs any more, so
// each database whose keys it may have is read whole, and only one that cannot be is not
// served any more.
func (n *Node) verifyStore(ctx context.Context, rate int64) error {
	var failed error
	err := n.store.Verify(ctx, rate, func(d store.Damage) {
		touched := false
		for _, of := range n.all() {
			for _, p := range [][]byte{foldPrefix(of.number), of.thread.Prefix()} {
				if !d.Touches(p) {
					continue
				}
				if err := n.readAll(ctx, p); isDamage(err) {
					touched = true
					n.quarantine(of, d.Err)
				} else if err != nil {
					failed = err
				}
			}
		}
		if !touched && !n.explains(d) {
			n.suffer(d.Err)
		}
	})
	return errors.Join(err, failed)
}

// explains reports whether a damage of the store is of a database that is known to be
// damaged.
func (n *Node) explains(d store.Damage) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, of := range n.damaged {
		if of.prefix != nil && (d.Lower != nil || d.Upper != nil) && (d.Touches(foldPrefix(of.number)) || d.Touches(of.prefix)) {
			return true
		}
	}
	return false
}

// readAll reads every value under a prefix. It ends at the first that cannot be read, which
// is enough to know.
func (n *Node) readAll(ctx context.Context, prefix []byte) error {
	snap := n.store.Snapshot()
	defer snap.Release()
	it := snap.Iterate(store.Prefix(prefix))
	defer it.Close()
	for ; it.Valid(); it.Next() {
		if _, err := it.Value(); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return it.Err()
}

// A finding gathers what a check finds of one thread.
type finding struct {
	*DatabaseDiagnosis
	first   error        // that is not of blobs alone
	altered []net.BlobID // blobs that are damaged
}

// report takes in damage for which the thread is not served any more.
func (f *finding) report(err error) {
	if f.first == nil {
		f.first = err
	}
	f.Broken = true
	f.Add(plain(err))
}

// note takes in an error that is damage. What cannot be read for another reason ends the
// check.
func (f *finding) note(err error) error {
	if err = journal.Unread(err); err != nil && isDamage(err) {
		f.report(err)
		return nil
	}
	return err
}

// thread checks what is stored of a thread.
func (f *finding) thread(ctx context.Context, t *net.Thread, o CheckOptions, pace func(int) error) error {
	if o.Mend {
		if _, err := t.RetakeBlobs(ctx); err != nil {
			return err
		}
	}
	read, err := t.Check(ctx, pace, f.report, func(id net.BlobID, err error) {
		f.altered = append(f.altered, id)
		f.Add(plain(err))
	})
	f.Records, f.Blobs = read.Records, read.Blobs
	if err = f.note(err); err == nil && o.Mend {
		_, err = t.DropBlobs(ctx, f.altered...)
	}
	return err
}

// checkDatabase checks one database, which is not served any more if more is damaged than
// blobs.
func (n *Node) checkDatabase(ctx context.Context, d *database, o CheckOptions, pace func(int) error) (DatabaseDiagnosis, error) {
	out := DatabaseDiagnosis{Name: d.name, ID: d.thread.ID().String(), Damage: []string{}, Rebuilding: d.rebuilding.Load(), Lost: n.lossOf(d).String()}
	_, out.Objection = d.keeps()
	f := &finding{DatabaseDiagnosis: &out}
	if err := f.thread(ctx, d.thread, o, pace); err != nil {
		return out, n.gone(d, err)
	}
	if noted, ok := n.note.Get(d.thread.ID()); ok && !d.rebuilding.Load() {
		if err := shortfall.Short(d.thread, noted.Heads); err != nil {
			f.report(err)
		}
	}
	if !o.Logs && !out.Rebuilding {
		hash, err := d.checkFold(ctx)
		if f.first == nil && err == nil {
			out.Hash = hash.String()
		}
		if err = f.note(err); err != nil {
			return out, n.gone(d, err)
		}
	}
	if f.first != nil {
		n.quarantine(d, f.first)
		return out, nil
	}
	lacks, err := n.lacksOf(ctx, d)
	out.SetLacks(lacks)
	return out, n.gone(d, err)
}

// checkKept checks one thread that is kept for others, which is not exchanged any more if
// more is damaged than blobs.
func (n *Node) checkKept(ctx context.Context, t *net.Thread, o CheckOptions, pace func(int) error) (DatabaseDiagnosis, error) {
	out := DatabaseDiagnosis{ID: t.ID().String(), Damage: []string{}}
	f := &finding{DatabaseDiagnosis: &out}
	err := f.thread(ctx, t, o, pace)
	if _, gone := n.host.Thread(t.ID()); errors.Is(gone, net.ErrUnknownThread) {
		return out, nil // it was removed meanwhile
	}
	if err != nil {
		return out, err
	}
	if f.first != nil {
		return out, n.quarantineKept(t.ID(), f.first)
	}
	lacks, err := lackedBlobs(t)
	out.SetLacks(lacks)
	return out, err
}

// gone passes over an error of a database that was removed or found damaged while it was
// checked. Its checks fail because it is closed, and what was found is known already.
func (n *Node) gone(d *database, err error) error {
	if err == nil {
		return nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed || n.databases[d.name] == d {
		return err
	}
	return nil
}

// checkFold compares the documents with their state hash, and that with what the log
// gives when it is folded anew.
func (d *database) checkFold(ctx context.Context) (clock.Hash, error) {
	fold, err := d.open(ctx)
	if err != nil {
		return clock.Hash{}, err
	}
	if err := fold.Settle(ctx); err != nil {
		return clock.Hash{}, err
	}
	hash, err := fold.Verify(ctx)
	if err != nil || d.differs() {
		return hash, err
	}
	return hash, d.refold(ctx, fold)
}

// refold folds the log anew, in a store of its own, and compares the state hash. What
// arrives or is cut meanwhile does not make a finding: only states at the same arrival, by
// the same cut, are compared. A log that is being cut is passed over, and checked the next
// time.
func (d *database) refold(ctx context.Context, fold *replica.Replica) (err error) {
	d.cutMu.Lock()
	cut, told, taken := d.cut, d.told, d.taken
	d.cutMu.Unlock()
	if told != taken {
		return nil // it is being cut: there is nothing to compare with
	}
	n, want := fold.StateHash()
	defer func() {
		if fault.Is(err, fault.DiskFull) {
			err = fault.Of(store.ErrDiskFull, "the check folds %s once more, which needs room: the disk that holds %s is full: free some space", d.name, d.n.home.Dir())
		}
	}()
	dir, err := d.n.home.Temp()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	scratch, err := engines.Open(filepath.Join(dir, homedir.DirStore), nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, scratch.Close()) }()
	void := foldCut(cut)
	for log, s := range void.Snapshots {
		s.Whole = false // what it stands for may be deleted
		void.Snapshots[log] = s
	}
	got, whole, err := check.Refold(ctx, check.Log{
		Store: scratch, Name: d.name, Prefix: foldPrefix(d.number), Journal: journal.Of(d.thread), UpTo: n, Cut: void, Clock: d.n.clock,
	})
	if err != nil {
		return err
	}
	d.cutMu.Lock()
	same := d.told == told
	d.cutMu.Unlock()
	if whole && same && got != want {
		return fault.Errorf(fault.Corrupt, "the state hash is %s, the log gives %s", want, got)
	}
	return nil
}

// keepDiagnosis keeps the last check for [Node.LastCheck].
func (n *Node) keepDiagnosis(d *Diagnosis) error {
	n.mu.Lock()
	n.checked = d
	n.mu.Unlock()
	b, err := json.Marshal(d)
	if err != nil {
		return err
	}
	if err := durable.WriteFile(n.home.Path(homedir.FileCheck), append(b, '\n')); err != nil {
		return fmt.Errorf("keep what the check found: %w", err)
	}
	return nil
}

// LastCheck returns what the last check of the home found, nil if there was none.
func (n *Node) LastCheck() *Diagnosis {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.checked
}
