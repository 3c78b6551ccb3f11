package thread

import "github.com/weftdb/weft/internal/clock"

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

// Attach joins the thread to what folds its data; nil detaches. What State says
// is flushed. If there is a cut already, Voided is called before Attach returns.
func (t *Thread) Attach(a *Attachment) {
	t.mu.Lock()
	t.attached = a
	t.mu.Unlock()
	if a == nil {
		return
	}
	if a.State != nil {
		if n, _, ok := a.State(); ok {
			t.Flushed(n)
		}
	}
	t.notifyMu.Lock()
	// Who folds asks for the authority when it is opened: that is no reason to open it.
	t.lastCut, t.cutOf = Cut{Authority: t.Authority()}, cutVersion{}
	t.notifyMu.Unlock()
	t.notify()
}

// StateTag returns what stands for a state hash in what relays see.
func (t *Thread) StateTag(state clock.Hash) clock.Hash {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.keys.StateTag(state)
}

// Durable returns the tips of what is durable here, with the tag of the state hash
// of the fold of just these; nil if there is none at the moment.
func (t *Thread) Durable() (tips []clock.RecordID, state []byte) {
	for range 3 {
		changed := t.Changed()
		tips, state = t.ackable(), nil
		t.mu.Lock()
		a, last := t.attached, t.arrivals
		t.mu.Unlock()
		if a != nil && a.State != nil {
			if n, hash, ok := a.State(); ok && n == last {
				tag := t.StateTag(hash)
				state = tag[:]
			}
		}
		select {
		case <-changed: // while the two were read
		default:
			return tips, state
		}
	}
	return tips, nil
}

// notify tells what is attached of arrivals and void logs. No lock is held.
func (t *Thread) notify() {
	t.notifyMu.Lock()
	defer t.notifyMu.Unlock()
	t.mu.Lock()
	a, cut := t.attached, Cut{}
	v := cutVersion{records: t.graph.Len(), cuts: t.cuts.version, limited: t.limited, told: true}
	again := a != nil && a.Voided != nil && v != t.cutOf
	if again {
		cut = t.cut()
	}
	more := len(t.pending) > 0 || (t.flushedTo < 0 && t.arrivals > 0)
	t.mu.Unlock()
	if a == nil {
		return
	}
	if again {
		t.cutOf = v
		if !cut.Equal(t.lastCut) {
			t.lastCut = cut
			a.Voided(cut.Clone())
		}
	}
	if more && a.Arrived != nil {
		a.Arrived()
	}
}
