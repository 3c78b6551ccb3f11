package net

import (
	"errors"
	"testing"
	"time"

	"github.com/weftdb/weft/keys"
)

// hosts returns a hub with a thread that it began for the identity of a laptop, which has come,
// and invited somebody.
func hosts(t *testing.T) (hub, laptop, bob *party, th, tl, tb *Thread) {
	t.Helper()
	hub, laptop, bob = newParty(t), newParty(t), newParty(t)
	th, err := hub.CreateFor(t.Context(), "notes", delegate(t, laptop, hub, time.Time{}), keys.PublicKey{})
	if err != nil {
		t.Fatal(err)
	}
	hub.attach(th)
	if err := th.AddDevice(t.Context(), laptop.cert); err != nil {
		t.Fatal(err)
	}
	laptop.connect(t, hub)
	if tl, err = laptop.Begin(within(t), th.ID(), th.ServiceKey(), nil); err != nil {
		t.Fatal(err)
	}
	laptop.attach(tl)
	bob.connect(t, laptop)
	tb = bob.join(t, tl)
	return hub, laptop, bob, th, tl, tb
}

func delegate(t *testing.T, by, to *party, expires time.Time) *keys.Delegation {
	t.Helper()
	d, err := by.identity.Delegate(to.device.Public(), keys.DelegateOptions{Rights: keys.RightCreate | keys.RightAdmit, Name: "hub", Issued: time.Now().Add(-time.Hour), Expires: expires})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// A hub's device begins a thread for an owner and writes, and everybody takes that as the
// owner's. The owner's own device comes and is senior. The identity revokes the hub: nobody
// takes what it writes from then on, it is given nothing more, and no other thread of the
// owner, nor a relay that knows it, was ever open to it.
func TestHubOfAnOwner(t *testing.T) {
	hub, laptop, bob, th, tl, tb := hosts(t)
	w := newWorld()
	r := newRelay(t, w)
	secret := w.newKey(t, r.identity)
	ids := writeOne(t, hub, th, []byte("of the hub"))
	for _, x := range []*Thread{tl, tb} {
		until(t, x, "it has what the hub wrote", func() bool { return x.Has(ids[0]) })
		if who, ok := x.Writer(ids[0]); !ok || who != laptop.identity.Public() {
			t.Errorf("the hub wrote as %s, %v", who, ok)
		}
	}
	h, _ := tb.held().Member(hub.self)
	l, _ := tb.held().Member(laptop.self)
	if !h.Delegated || !l.SeniorTo(&h) {
		t.Errorf("got the hub %+v, and the laptop %+v", h, l)
	}

	// Nothing else of the owner is open to it.
	other := laptop.create(t)
	if _, err := hub.Begin(within(t), other.ID(), other.ServiceKey(), nil); err == nil {
		t.Error("the hub begins in another thread of the owner")
	}
	d := delegate(t, laptop, hub, time.Time{})
	forged := &keys.Certificate{Identity: d.Identity, Sign: d.Sign, Seal: d.Seal, Issued: d.Issued, Name: d.Name, Signature: d.Signature}
	hub.use(t, r, func(audience keys.PublicKey) (*keys.Credential, error) {
		g, err := secret.Grant(keys.GrantOptions{User: laptop.identity.Public(), Audience: audience, Issued: time.Now(), Expires: time.Now().Add(time.Hour)})
		return &keys.Credential{Grant: g, Certificate: forged}, err
	})
	waitRefused(t, th, r.ID(), keys.CodeBadSignature)

	if err := tl.RevokeDevice(t.Context(), laptop.identity, hub.self); err != nil {
		t.Fatal(err)
	}
	gone := func(x *Thread) func() bool {
		return func() bool { _, member := x.held().Member(hub.self); return !member }
	}
	until(t, tb, "another member hears of the revocation", gone(tb))
	until(t, th, "the hub hears of it", gone(th))
	secretID := writeOne(t, bob, tb, []byte("secret"))
	until(t, tl, "the owner has what was written after", func() bool { return tl.Has(secretID[0]) })
	if th.Has(secretID[0]) {
		t.Error("the hub got what was written after it was revoked")
	}
	tx := hub.store.Begin()
	defer tx.Discard()
	if _, _, _, err := th.Append(tx, []Draft{{Time: hub.clock.Now(), Payload: []byte("late")}}); !errors.Is(err, ErrNotMember) {
		t.Errorf("got %v of a write by the hub", err)
	}
	for _, x := range []*Thread{tl, tb} {
		if !x.Has(ids[0]) {
			t.Error("what the hub wrote before is gone")
		}
	}
}

// Once a delegation has ended by a member's clock that one takes nothing from the hub's device
// and gives it nothing; what it took stays. A delegation that ends later has both go on.
func TestHubWhoseTimeIsOver(t *testing.T) {
	hub, laptop := newParty(t), newParty(t)
	tl := laptop.create(t)
	soon := time.Now().Add(time.Hour)
	if err := tl.Delegate(t.Context(), delegate(t, laptop, hub, soon)); err != nil {
		t.Fatal(err)
	}
	hub.connect(t, laptop)
	th, err := hub.Begin(within(t), tl.ID(), tl.ServiceKey(), nil)
	if err != nil {
		t.Fatal(err)
	}
	hub.attach(th)
	ids := writeOne(t, hub, th, []byte("in time"))
	until(t, tl, "the owner has what the hub wrote", func() bool { return tl.Has(ids[0]) })

	// By the clock of the owner's device its time is over.
	hub.halt(t)
	laptop.halt(t)
	laptop.opt.Clock = &Clock{Wall: func() time.Time { return time.Now().Add(2 * time.Hour) }}
	hub.start(t)
	laptop.start(t)
	th, tl = hub.open(t, th.ID()), laptop.open(t, tl.ID())
	late := writeOne(t, hub, th, []byte("late"))
	hub.connect(t, laptop)
	waitRefused(t, th, laptop.ID(), CodeNotMember)
	if laptop.Known(hub.ID()) || tl.Has(late[0]) || !tl.Has(ids[0]) {
		t.Errorf("the hub is known: %v; late %v, in time %v", laptop.Known(hub.ID()), tl.Has(late[0]), tl.Has(ids[0]))
	}
	if err := tl.Delegate(t.Context(), delegate(t, laptop, hub, soon.Add(24*time.Hour))); err != nil {
		t.Fatal(err)
	}
	until(t, tl, "the owner has what the hub wrote", func() bool { return tl.Has(late[0]) })
}

// A hub has another device for each identity, apart from the host's, and the same again after a
// restart. Who has another master key cannot open its threads; a delegation to somebody else's
// device is none to it; and what one identity delegated is of no use for another.
func TestHubHasADeviceForEach(t *testing.T) {
	master := keys.NewSecret()
	device := func(id keys.PublicKey, generation uint64) (*keys.Device, error) {
		return keys.HubDevice(master, id, generation)
	}
	hub := newParty(t, func(o *Options) { o.Hub = device })
	to := func(id *keys.Identity, d *keys.Device, generation uint64) *keys.Delegation {
		t.Helper()
		x, err := id.Delegate(d.Public(), keys.DelegateOptions{Rights: keys.RightCreate, Generation: generation, Name: "hub", Issued: time.Now().Add(-time.Hour)})
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	own := func(id *keys.Identity, generation uint64) *keys.Device {
		d, err := device(id.Public(), generation)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	alice, bob := keys.NewIdentity(), keys.NewIdentity()
	var ids []ThreadID
	devices := map[keys.PublicKey]bool{hub.self: true}
	for _, x := range []*keys.Delegation{to(alice, own(alice, 1), 1), to(alice, own(alice, 2), 2), to(bob, own(bob, 1), 1)} {
		th, err := hub.CreateFor(t.Context(), "notes", x, keys.PublicKey{})
		if err != nil {
			t.Fatal(err)
		}
		hub.attach(th)
		ids = append(ids, th.ID())
		if devices[th.Device()] || th.Device() != x.Sign || th.Owner() != x.Identity {
			t.Errorf("the device %s of %s is another's, too", th.Device(), x.Identity)
		}
		devices[th.Device()] = true
		if peers := th.Status(); len(peers) != 0 {
			t.Errorf("the hub waits for itself: %+v", peers)
		}
		if who, ok := th.Writer(writeOne(t, hub, th, []byte("hosted"))[0]); !ok || who != x.Identity {
			t.Errorf("the hub wrote as %s, %v", who, ok)
		}
	}
	for name, x := range map[string]*keys.Delegation{
		"of another identity": to(bob, own(alice, 1), 1), "of another generation": to(alice, own(alice, 1), 2), "somebody else's": to(alice, keys.NewDevice(), 1),
	} {
		if _, err := hub.CreateFor(t.Context(), "notes", x, keys.PublicKey{}); !errors.Is(err, ErrNotMember) {
			t.Errorf("a device %s: got %v", name, err)
		}
	}

	hub.halt(t)
	hub.start(t)
	for _, id := range ids {
		th := hub.open(t, id)
		if !devices[th.Device()] || th.Device() == hub.self {
			t.Errorf("%s has the device %s after a restart", id, th.Device())
		}
		writeOne(t, hub, th, []byte("again"))
	}
	hub.halt(t)
	master = keys.NewSecret()
	lost := map[ThreadID]bool{}
	hub.opt.Damaged = func(id ThreadID, _ error) { lost[id] = true }
	hub.start(t)
	if len(lost) != len(ids) {
		t.Errorf("with another master key %d of %d threads do not open", len(lost), len(ids))
	}
}
