package net

import (
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/keys"
)

// Writer returns the identity of the device that writes a log; ok is false if
// the device is no member. A device has one identity in a thread (see join), so
// the answer is the same on every replica that has the log's records.
func (t *Thread) Writer(log clock.LogID) (identity keys.PublicKey, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.logs[log]
	if l == nil {
		return identity, false
	}
	m := t.graph.state.members[l.desc.Device]
	if m == nil {
		return identity, false
	}
	return m.Identity, true
}

// Self returns the identity of this device, as others see it in the thread.
func (t *Thread) Self() (identity keys.PublicKey) {
	if m, ok := t.member(t.env.self()); ok {
		return m.Identity
	}
	if t.env.cert != nil {
		return t.env.cert.Identity
	}
	return identity
}
