package net

import "time"

// closeEvery is how often a host looks for invites whose end is long past.
const closeEvery = 10 * time.Minute

// closeEnded does what owners' and admins' devices do by themselves. It gives members the key
// of the present epoch who lack it; and it closes the invites of this host's threads that are
// used up or expired long ago, as far as it is caught up: a device that has not heard of those
// who came in time does not leave them out.
func (h *Host) closeEnded() {
	t := time.NewTicker(closeEvery)
	defer t.Stop()
	for {
		all := false
		select {
		case <-t.C:
			all = true // time has passed
		case <-h.ending:
		case <-h.ctx.Done():
			return
		}
		h.closeDue(all)
	}
}

// closeDue is one look of closeEnded: at all threads, or at those with control records that
// it has not looked at.
func (h *Host) closeDue(all bool) {
	h.mu.Lock()
	var due, held, kept []*share
	for _, s := range h.shares {
		if s.relay {
			kept = append(kept, s)
			continue
		}
		held = append(held, s)
		if s.caughtUp() {
			due = append(due, s)
		}
	}
	h.mu.Unlock()
	for _, s := range held {
		if n := int64(s.thread.ControlRecords()); s.rotated.Swap(n) == n && !all {
			continue
		}
		if _, err := s.thread.RotateIfDue(s.ctx); err != nil && s.ctx.Err() == nil {
			h.log.Warn("members lack the key of the present epoch", "thread", s.thread.ID(), "error", err)
		}
	}
	for _, s := range kept { // what of them may be deleted, by the members' word or by time
		if !s.thread.PruneDue() {
			continue
		}
		if _, err := s.thread.Prune(s.ctx); err != nil && s.ctx.Err() == nil {
			h.log.Error("prune", "thread", s.thread.ID(), "error", err)
		}
	}
	for _, s := range due {
		if !s.lookAgain() && !all {
			continue
		}
		if err := s.thread.CloseEnded(); err != nil && s.ctx.Err() == nil {
			h.log.Warn("an invite that has ended is not closed", "thread", s.thread.ID(), "error", err)
		}
	}
}

// caughtUp reports whether this host has all that a relay in use has, or two other
// members, or all others where no relay is in use, and at least one. The caller holds h.mu.
func (s *share) caughtUp() bool {
	relays, members, usesRelays := 0, 0, false
	for p, l := range s.links {
		l.mu.Lock()
		up := l.pulling && l.caughtUp
		l.mu.Unlock()
		r := s.host.peers[p]
		up = up && r != nil && r.conn != nil
		switch {
		case s.usesRelay(p):
			usesRelays = true
			if up {
				relays++
			}
		case up && s.members[r.device]:
			members++
		}
	}
	others := len(s.members) - 1
	return relays > 0 || members >= 2 || !usesRelays && members > 0 && members >= others
}

// lookAgain reports whether there are control records since it was asked before.
func (s *share) lookAgain() bool {
	n := int64(s.thread.ControlRecords())
	return s.looked.Swap(n) != n
}
