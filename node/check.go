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
)

// CheckOptions say how a home is checked.
type CheckOptions struct {
	// Rate bounds how many bytes are read in a second; 0 means as many as can be.
	Rate int64
	// Logs checks logs and blobs only, not what was folded of them: that takes little
	// but reading.
	Logs bool
}

// A Diagnosis is what a check of a home has found.
type Diagnosis struct {
	Began     time.Time           `json:"began"`
	Ended     time.Time           `json:"ended"` // zero while it goes on
	Bytes     int64               `json:"bytes"` // of logs and blobs that were read
	Databases []DatabaseDiagnosis `json:"databases"`
	Damage    []string            `json:"damage"` // in what no database owns, and in the store's files
}

// A DatabaseDiagnosis is what a check has found of one database.
type DatabaseDiagnosis struct {
	Name    string   `json:"name"`
	ID      string   `json:"id"`
	Hash    string   `json:"hash,omitempty"` // the state hash; "" if it is not known
	Records int64    `json:"records"`
	Blobs   int64    `json:"blobs"`
	Damage  []string `json:"damage"`
	// Rebuilding says that it was damaged and that its peers have not given yet what
	// they hold.
	Rebuilding bool `json:"rebuilding,omitempty"`
	// Lost says what of it was lost or given up in a repair.
	Lost string `json:"lost,omitempty"`
}

// Whole reports whether nothing is damaged, and nothing is still being rebuilt.
func (d *Diagnosis) Whole() bool {
	return d.undamaged() && !slices.ContainsFunc(d.Databases, func(b DatabaseDiagnosis) bool { return b.Rebuilding })
}

// Findings counts what is damaged.
func (d *Diagnosis) Findings() int {
	n := len(d.Damage)
	for _, b := range d.Databases {
		n += len(b.Damage)
	}
	return n
}

// undamaged is Whole but for databases that are being rebuilt, which a repair need not
// begin again.
func (d *Diagnosis) undamaged() bool {
	return len(d.Damage) == 0 && !slices.ContainsFunc(d.Databases, func(b DatabaseDiagnosis) bool { return len(b.Damage) > 0 })
}

// maxDamage bounds what is listed of one database.
const maxDamage = 100

// Check reads everything in the home and compares it with what it must be: the
// store's files, chains, signatures and bodies of every log, blobs, the note, and
// what is folded with what the logs give. What it finds damaged is not served any
// more. The error is of checking, not of what was found.
func (n *Node) Check(ctx context.Context, o CheckOptions) (Diagnosis, error) {
	out := Diagnosis{Began: time.Now().UTC(), Databases: []DatabaseDiagnosis{}, Damage: []string{}}
	pace := pacer(ctx, o.Rate)
	for _, d := range n.all() {
		b, err := n.checkDatabase(ctx, d, o, func(k int) error {
			out.Bytes += int64(k)
			return pace(k)
		})
		if err != nil {
			return out, err
		}
		out.Databases = append(out.Databases, b)
	}
	if err := n.verifyStore(ctx, o.Rate); err != nil {
		return out, err
	}
	seen := map[string]bool{}
	for _, b := range out.Databases {
		seen[b.ID] = len(b.Damage) > 0
	}
	for _, d := range n.Damages() {
		switch {
		case d.Database == "":
			out.Damage = append(out.Damage, d.Reason)
		case !seen[d.ID.String()]:
			out.Databases = append(out.Databases, DatabaseDiagnosis{Name: d.Database, ID: d.ID.String(), Damage: []string{d.Reason}})
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

// checkDatabase checks one database, which is not served any more if it is damaged.
func (n *Node) checkDatabase(ctx context.Context, d *database, o CheckOptions, pace func(int) error) (DatabaseDiagnosis, error) {
	out := DatabaseDiagnosis{Name: d.name, ID: d.thread.ID().String(), Damage: []string{}, Rebuilding: d.rebuilding.Load(), Lost: n.lossOf(d).String()}
	var first error
	report := func(err error) {
		if first == nil {
			first = err
		}
		if text := plain(err); len(out.Damage) < maxDamage && !slices.Contains(out.Damage, text) {
			out.Damage = append(out.Damage, text)
		}
	}
	// What cannot be read for another reason than damage ends the check.
	note := func(err error) error {
		if err = unread(err); err != nil && isDamage(err) {
			report(err)
			return nil
		}
		return err
	}
	read, err := d.thread.Check(ctx, pace, report)
	out.Records, out.Blobs = read.Records, read.Blobs
	if err = note(err); err != nil {
		return out, n.gone(d, err)
	}
	if noted, ok := n.note.Get(d.thread.ID()); ok && !d.rebuilding.Load() {
		if err := shortOf(d.thread, noted.Heads); err != nil {
			report(err)
		}
	}
	if !o.Logs && !out.Rebuilding {
		hash, err := d.checkFold(ctx)
		if first == nil && err == nil {
			out.Hash = hash.String()
		}
		if err = note(err); err != nil {
			return out, n.gone(d, err)
		}
	}
	if first != nil {
		n.quarantine(d, first)
	}
	return out, nil
}

// gone passes over the errors of a database that was removed or found damaged while it was
// checked. Its checks fail because it is closed, and what was found is known already.
func (n *Node) gone(d *database, err error) error {
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
	log, err := newReplay(journal{d.thread}, n)
	if err != nil {
		return err
	}
	dir, err := d.n.home.temp()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	scratch, err := engines.Open(filepath.Join(dir, dirStore), nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, scratch.Close()) }()
	again, err := replica.Open(ctx, replica.Options{
		Store: scratch, Name: d.name, Prefix: foldPrefix(d.number), Journal: log, Clock: d.n.clock,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, again.Close()) }()
	void := foldCut(cut)
	for log, s := range void.Snapshots {
		s.Whole = false // what it stands for may be deleted
		void.Snapshots[log] = s
	}
	if err := again.SetCut(ctx, void); err != nil {
		return err
	}
	if err := again.Settle(ctx); err != nil {
		return err
	}
	at, got := again.StateHash()
	d.cutMu.Lock()
	same := d.told == told
	d.cutMu.Unlock()
	if at == int64(len(log.numbers)) && same && got != want {
		return fault.Errorf(fault.Corrupt, "the state hash is %s, the log gives %s", want, got)
	}
	return nil
}

// A replay is a journal up to an arrival, to be folded from nothing by who writes
// nothing. Its numbers have no gaps: those of what was cut off are not there.
type replay struct {
	journal journal
	numbers []int64 // of the journal, by number here less one
}

var _ replica.Journal = (*replay)(nil) // not by embedding: a number that is not mapped is another record

// newReplay maps the numbers of the journal up to an arrival, without reading records.
func newReplay(j journal, upTo int64) (*replay, error) {
	r := &replay{journal: j}
	return r, j.IDs(0, func(n int64, _ clock.RecordID, _ bool) bool {
		if n <= upTo {
			r.numbers = append(r.numbers, n)
		}
		return n < upTo
	})
}

// there returns the journal's number of a number here.
func (r *replay) there(n int64) int64 {
	if n == 0 {
		return 0
	}
	return r.numbers[min(n, int64(len(r.numbers)))-1]
}

// here is the inverse of there; 0 for a number that is not replayed.
func (r *replay) here(n int64) int64 {
	i, found := slices.BinarySearch(r.numbers, n)
	if !found {
		return 0
	}
	return int64(i) + 1
}

// Append is never called: who replays writes nothing.
func (r *replay) Append(store.Tx, []replica.Draft) ([]clock.RecordID, int64, func(bool), error) {
	return nil, 0, nil, net.ErrClosed
}

func (r *replay) Flushed(int64) {}

func (r *replay) Arrivals(n int64, maxBytes int) ([]replica.Arrival, error) {
	in, err := r.journal.Arrivals(r.there(n), maxBytes)
	for i := range in {
		if in[i].N = r.here(in[i].N); in[i].N == 0 {
			return in[:i], err
		}
	}
	return in, err
}

func (r *replay) Read(ns []int64, maxBytes int) ([]replica.Arrival, error) {
	there := make([]int64, 0, len(ns))
	for _, n := range ns {
		if n > 0 && n <= int64(len(r.numbers)) {
			there = append(there, r.numbers[n-1])
		}
	}
	in, err := r.journal.Read(there, maxBytes)
	for i := range in {
		in[i].N = r.here(in[i].N)
	}
	return in, err
}

func (r *replay) IDs(n int64, f func(n int64, id clock.RecordID, snapshot bool) bool) error {
	return r.journal.IDs(r.there(n), func(n int64, id clock.RecordID, snapshot bool) bool {
		n = r.here(n)
		return n > 0 && f(n, id, snapshot)
	})
}

// Writer implements [replica.Journal].
func (r *replay) Writer() (identity, role string) { return r.journal.Writer() }

// pacer returns a function that waits until as many bytes may be read. It sleeps only when
// it is 10 ms ahead, as shorter sleeps cost more than they give. It counts from its first
// moment, so what was slow at first may be made up for later.
func pacer(ctx context.Context, rate int64) func(int) error {
	if rate <= 0 {
		return func(int) error { return ctx.Err() }
	}
	began, read := time.Now(), int64(0)
	return func(k int) error {
		read += int64(k)
		wait := time.Duration(float64(read)/float64(rate)*float64(time.Second)) - time.Since(began)
		if wait < 10*time.Millisecond {
			return ctx.Err()
		}
		t := time.NewTimer(wait)
		defer t.Stop()
		select {
		case <-t.C:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
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
	if err := durable.WriteFile(n.home.path(fileCheck), append(b, '\n')); err != nil {
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

// readCheck reads what the last check found; one that cannot be read is none.
func (h *home) readCheck() *Diagnosis {
	b, err := os.ReadFile(h.path(fileCheck))
	var d Diagnosis
	if err != nil || json.Unmarshal(b, &d) != nil {
		return nil
	}
	return &d
}
