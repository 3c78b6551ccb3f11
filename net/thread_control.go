package net

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/multiformats/go-multiaddr"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/keys"
)

// An openedLog is a data log that was announced, before the commit.
type openedLog struct {
	log    *threadLog
	hash   clock.Hash // of the record that announces it
	time   clock.Time
	record *controlWrite
}

// A controlWrite is a record of the own control log, before the commit.
type controlWrite struct {
	log     *threadLog
	next    branch
	record  *controlRecord
	newData *threadLog // that it announces
}

// newLocalLog returns a log with the number that it will have after n others that
// are not installed yet.
func (t *Thread) newLocalLog(d descriptor, n int) *threadLog {
	raw := d.encode()
	return &threadLog{num: uint32(len(t.byNum) + n), id: logID(t.id, raw), desc: d, raw: raw}
}

func (t *Thread) installLocal(l *threadLog) {
	if _, ok := t.logs[l.id]; !ok {
		t.byNum = append(t.byNum, l)
		t.logs[l.id] = l
	}
}

// openDataLog writes a control record that announces a new data log of this
// device; its time is before `before`. mu and write are held.
func (t *Thread) openDataLog(tx store.Tx, before clock.Time) (*openedLog, error) {
	if t.ownControl == nil {
		return nil, ErrNotMember
	}
	d := newDescriptor(t.env.self(), kindData)
	w, err := t.writeControl(tx, &controlPayload{Op: opLog, Data: d.encode()}, before)
	if err != nil {
		return nil, err
	}
	return &openedLog{log: w.newData, hash: w.record.id.Hash, time: w.record.time, record: w}, nil
}

func (t *Thread) installLog(o *openedLog) { t.installControl(o.record) }

// writeControl puts the next record of the own control log into tx. With before
// set, its time is the earliest that is allowed and must be before that. mu and
// write are held.
func (t *Thread) writeControl(tx store.Tx, p *controlPayload, before clock.Time) (*controlWrite, error) {
	w := &controlWrite{log: t.ownControl}
	fresh := 0
	if w.log == nil {
		w.log = t.newLocalLog(newDescriptor(t.env.self(), kindControl), 0)
		fresh = 1
	}
	h := &header{Log: w.log.id, Seq: 1, Epoch: t.keys.Epoch, Control: t.graph.named()}
	after := t.genesis.Time
	for _, b := range w.log.branches {
		if b.tip.Seq >= h.Seq {
			w.next, h.Seq, h.Prev = *b, b.tip.Seq+1, b.tip.Hash
			after = max(after, b.time)
		}
	}
	for _, c := range h.Control {
		after = max(after, t.graph.records[t.graph.index[c]].time)
	}
	if err := t.controlTime(h, after, before); err != nil {
		return nil, err
	}
	if p.Op == opJoin {
		p.Signature = t.inviteSignature(w.log.id, p.Certificate)
	}
	rec, err := t.sealRecord(t.keys.Service, h, &plaintext{Payload: p.encode()}, true)
	if err != nil {
		return nil, err
	}
	if w.record, err = t.ownControlRecord(h, rec, p); err != nil {
		return nil, err
	}
	w.next.tip, w.next.time, w.next.signed, w.next.done = rec.id, h.Time, rec.id, rec.id
	w.next.records++
	w.next.bytes += int64(rec.size)
	data := t.ownData
	if p.Data != nil {
		d, err := decodeDescriptor(p.Data)
		if err != nil {
			return nil, err
		}
		if d.Kind == kindData {
			w.newData = t.newLocalLog(d, fresh)
			data = w.newData
		}
	}
	return w, t.putControl(tx, w, rec, data)
}

// ownControlRecord checks a record of ours as every other node will.
func (t *Thread) ownControlRecord(h *header, rec *sealedRecord, p *controlPayload) (*controlRecord, error) {
	c := &controlRecord{id: rec.id, time: h.Time, device: t.env.self(), parents: h.Control, payload: p}
	if h.Seq > 1 {
		found := false
		for _, q := range h.Control {
			found = found || q == h.Prev
		}
		if !found {
			c.parents = append(append([]clock.Hash(nil), h.Control...), h.Prev)
		}
	}
	return c, t.graph.check(c)
}

func (t *Thread) controlTime(h *header, after, before clock.Time) error {
	h.Time = after + 1
	if before == 0 {
		if err := t.env.clock.Observe(after); err != nil {
			return err
		}
		h.Time = t.env.clock.Now()
	} else if h.Time >= before {
		return ErrClock
	}
	return nil
}

func (t *Thread) putControl(tx store.Tx, w *controlWrite, rec *sealedRecord, data *threadLog) error {
	errs := []error{
		tx.Put(t.recordKey(w.log.num, rec.id.Seq, rec.id.Hash), rec.value),
		tx.Put(t.branchKey(w.log.num, w.next.num), w.next.encode()),
	}
	if t.ownControl == nil {
		errs = append(errs, t.putLog(tx, w.log))
	}
	if w.newData != nil {
		errs = append(errs, t.putLog(tx, w.newData))
	}
	if t.ownControl == nil || w.newData != nil {
		errs = append(errs, t.putOwn(tx, w.log, data))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("net: control record: %w", err)
	}
	return nil
}

// installControl makes a control record that has committed the state in memory.
func (t *Thread) installControl(w *controlWrite) {
	t.installLocal(w.log)
	t.ownControl = w.log
	if w.newData != nil {
		t.installLocal(w.newData)
		t.ownData = w.newData
	}
	t.installBranch(w.log, &w.next)
	t.graph.add(w.record)
	t.refreshCuts()
	t.syncSoon(true)
}

// appendControl appends a record to the own control log; it is durable on return.
func (t *Thread) appendControl(ctx context.Context, p *controlPayload) (clock.RecordID, error) {
	if err := ctx.Err(); err != nil {
		return clock.RecordID{}, err
	}
	id, err := t.commitControl(p)
	if err != nil {
		return clock.RecordID{}, err
	}
	if err := t.syncNow(); err != nil {
		return clock.RecordID{}, err
	}
	t.notify()
	return id, nil
}

func (t *Thread) commitControl(p *controlPayload) (clock.RecordID, error) {
	t.write.Lock()
	defer t.write.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return clock.RecordID{}, ErrClosed
	}
	tx := t.env.store.Begin()
	defer tx.Discard()
	w, err := t.writeControl(tx, p, 0)
	if err != nil {
		return clock.RecordID{}, err
	}
	if err := tx.Commit(); err != nil {
		return clock.RecordID{}, fmt.Errorf("net: control record: %w", err)
	}
	t.installControl(w)
	t.signal()
	return w.record.id, nil
}

// InviteOptions say what an invite lets people do. The zero value lets one device
// in as a writer, for a day.
type InviteOptions struct {
	Role    Role          // 0 means RoleWriter; only RoleOwner and RoleWriter exist yet
	Expires time.Duration // 0 means 24 hours, negative never
	Uses    int           // 0 means 1, negative any number
	Addrs   []multiaddr.Multiaddr
}

// CreateInvite lets whoever holds the invite join, also while only a relay is
// online. Only an owner can. It is durable on return; the invite is kept nowhere.
func (t *Thread) CreateInvite(ctx context.Context, o InviteOptions) (Invite, error) {
	if o.Role == 0 {
		o.Role = RoleWriter
	}
	if err := o.Role.check(); err != nil {
		return Invite{}, err
	}
	if len(o.Addrs) > maxInviteAddrs {
		return Invite{}, fmt.Errorf("%w: an invite has at most %d addresses", ErrTooLarge, maxInviteAddrs)
	}
	p := &controlPayload{Op: opInvite, Role: o.Role, Uses: uint64(max(o.Uses, 0))}
	if o.Uses == 0 {
		p.Uses = 1
	}
	if o.Expires == 0 {
		o.Expires = 24 * time.Hour
	}
	if o.Expires > 0 {
		p.Expires = t.env.clock.Now() + clock.Time(o.Expires.Milliseconds())<<16
	}
	if err := t.mayGrant(); err != nil {
		return Invite{}, err
	}
	t.mu.Lock()
	k := t.keys
	t.mu.Unlock()
	inv := Invite{Thread: t.id, Addrs: o.Addrs, seed: keys.NewSecret()}
	var err error
	if inv.service, err = keys.SecretOf(k.Service[:]); err != nil {
		return Invite{}, err
	}
	id, err := inv.identity()
	if err != nil {
		return Invite{}, err
	}
	p.Key = id.Public()
	if p.Sealed, err = sealForInvite(t.id, id, &k); err != nil {
		return Invite{}, err
	}
	if _, err = t.appendControl(ctx, p); err != nil {
		return Invite{}, err
	}
	return inv, nil
}

// RevokeInvite ends an invite: a join that has not seen this is void, unless it is
// ordered before. Only an owner can. It is durable on return.
func (t *Thread) RevokeInvite(ctx context.Context, key keys.PublicKey) error {
	if err := t.mayGrant(); err != nil {
		return err
	}
	if err := t.inviteOpen(key, 0); errors.Is(err, ErrNoInvite) {
		return err
	}
	_, err := t.appendControl(ctx, &controlPayload{Op: opRevokeInvite, Key: key})
	return err
}

func (t *Thread) mayGrant() error {
	if m, ok := t.member(t.env.self()); !ok || m.Role != RoleOwner {
		return fmt.Errorf("%w: only an owner can", ErrNotMember)
	}
	if !t.joined() {
		return ErrNoKeys
	}
	return nil
}

// inviteSignature signs a join of ours with the pending invite; mu is held.
func (t *Thread) inviteSignature(control clock.LogID, cert []byte) keys.Signature {
	if t.invite == nil {
		return keys.Signature{}
	}
	id, err := t.invite.identity()
	if err != nil {
		return keys.Signature{}
	}
	return id.Sign(domainJoin, t.id[:], control[:], cert)
}

// finishJoin makes this device a member by the pending invite. It returns
// ErrNoInvite until the invite's record has arrived, and an ErrInvite if the
// invite lets nobody in. The join is durable on return; whether it holds is decided
// by the order of joins, where another may come first.
func (t *Thread) finishJoin(ctx context.Context) error {
	inv, ok := t.pendingInvite()
	if !ok {
		if t.joined() {
			return nil
		}
		return ErrNoInvite
	}
	id, err := inv.identity()
	if err != nil {
		return err
	}
	if err := t.inviteOpen(id.Public(), t.env.clock.Now()); err != nil {
		return err
	}
	t.mu.Lock()
	sealed := t.graph.state.sealed[id.Public()]
	t.mu.Unlock()
	k, err := openWithInvite(t.id, t.genesis, id, sealed)
	if err != nil {
		return err
	}
	cert, err := t.env.cert.Encode()
	if err != nil {
		return fmt.Errorf("net: join: %w", err)
	}
	if err := t.commitJoin(ctx, id.Public(), cert, k); err != nil {
		return err
	}
	if err := t.syncNow(); err != nil {
		return err
	}
	return t.recheck() // what waited for the read key
}

func (t *Thread) commitJoin(ctx context.Context, key keys.PublicKey, cert []byte, k threadKeys) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	t.write.Lock()
	defer t.write.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return ErrClosed
	}
	tx := t.env.store.Begin()
	defer tx.Discard()
	data := newDescriptor(t.env.self(), kindData)
	w, err := t.writeControl(tx, &controlPayload{Op: opJoin, Key: key, Certificate: cert, Data: data.encode()}, 0)
	if err != nil {
		return err
	}
	was := t.keys
	t.keys = k
	secrets, err := t.sealSecrets(nil)
	if err == nil {
		err = tx.Put(t.key(keySecrets), secrets)
	}
	if err == nil {
		err = tx.Commit()
	}
	if err != nil {
		t.keys = was
		return fmt.Errorf("net: join: %w", err)
	}
	t.invite = nil
	t.installControl(w)
	t.signal()
	return nil
}
