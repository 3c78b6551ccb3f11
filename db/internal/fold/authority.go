package fold

import (
	"github.com/weftdb/weft/db/internal/judge"
	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/db/internal/place"
	"github.com/weftdb/weft/internal/clock"
)

// Who may define a collection follows from the roles of the journal's writers, which
// records change that come later. The journal is asked for each definition when it is
// judged, and says by a hash whether its answers may differ from those before.
//
// Invariant: once heed has returned, every definition that is folded has the verdict of
// the roles of then, or of later ones, and the store says so. A change that comes while
// something is judged is told afterwards, so heed comes again.
//
//	judged by roles R1          stored: a R1
//	the owner demotes an admin  the journal says R2
//	heed                        a R2, marker {rescan of system.collections}, and what that causes

// everOn is a place after all snapshots and before every operation.
var everOn = keyspace.Ref{Time: 1}

// heed judges all definitions again if roles have changed since it did so before.
func (f *Fold) heed() error {
	now := f.Journal.Authority()
	if now == f.authority {
		return nil
	}
	return f.judgeAnew(now)
}

// judgeDefinitions is judgeAnew, in one transaction or in steps.
func (f *Fold) judgeDefinitions(now clock.Hash, stepping bool) error {
	b := f.newBatch()
	defer b.discard()
	if err := b.tx.Put(f.Space.Key(keyspace.TagAuthority), now[:]); err != nil {
		return err
	}
	if err := place.Put(f.places.NoteAll(), b.tx.Put, b.tx.Delete); err != nil {
		return err
	}
	if err := b.forgetAwaited(); err != nil {
		return err
	}
	if b.cat.Colls[judge.SystemCollection] != nil {
		b.rescans = []rescan{{judge.SystemCollection, everOn}}
	}
	if b.stepping = stepping; stepping {
		if err := b.step(); err != nil {
			return err
		}
	}
	if err := b.commit(); err != nil {
		return err
	}
	if err := f.breaks(f.Store.Sync()); err != nil {
		return err
	}
	f.authority = now
	f.places.TakeAll()
	return f.finish(b)
}

// name gives an entry of a definition its name, if it has none: the fold needs it.
func (b *batch) name(e *entry) error {
	if e.coll.Name != judge.SystemCollection || e.id.Type != 0 || e.Count == 0 {
		return nil
	}
	rec, err := b.record(e.Last.N)
	if err != nil {
		return err
	}
	if rec.Bad != nil || int(e.Last.Index) >= len(rec.Ops) {
		return keyspace.ErrCorrupt
	}
	e.id = rec.Ops[e.Last.Index].ID
	return nil
}
