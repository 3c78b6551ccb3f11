package thread

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/net/internal/format"
)

// A second device of an identity.
type secondDevice struct {
	*testNode
	cert *keys.Certificate
}

// newDevice returns a node with a device that an identity certifies, on a store of its own.
func newDevice(t testing.TB, id *keys.Identity, name string) secondDevice {
	t.Helper()
	d := keys.NewDevice()
	cert, err := id.Certify(d.Public(), keys.CertifyOptions{Issued: time.Now(), Name: name})
	must(t, err)
	return secondDevice{openTestNode(t, t.TempDir(), d, cert), cert}
}

// begin makes an added device a member, by what another one sends.
func (d secondDevice) begin(t testing.TB, from *Thread) *Thread {
	t.Helper()
	th, err := Begin(t.Context(), d.env, from.Genesis(), format.SecretKey(from.ServiceKey()))
	must(t, err)
	opened(t, th)
	tryPull(t, th, from)
	must(t, th.FinishBegin(t.Context()))
	mustPull(t, th, from)
	return th
}

// family is a thread of an owner, and of an identity with a laptop that joined.
func family(t testing.TB) (c *club, id *keys.Identity) {
	t.Helper()
	id = keys.NewIdentity()
	o := newMemoryNode(t)
	c = &club{nodes: []*testNode{o}, threads: []*Thread{o.create(t)}}
	laptop := newDevice(t, id, "laptop")
	c.nodes = append(c.nodes, laptop.testNode)
	c.threads = append(c.threads, laptop.join(t, c.threads[0], o.invite(t, c.threads[0], InviteOptions{})))
	c.meet(t)
	return c, id
}

func (c *club) add(t testing.TB, by int, d secondDevice) {
	t.Helper()
	must(t, c.threads[by].AddDevice(t.Context(), d.cert))
	c.nodes, c.threads = append(c.nodes, d.testNode), append(c.threads, d.begin(t, c.threads[by]))
}

// A writer's laptop adds its phone without an invite, while no owner is there: the phone
// writes as the same identity, reads what was written under every key, and begins once. The
// laptop removes it when it is lost: what it writes counts nowhere, and the owner's device
// changes the key, which it has not.
func TestLostPhone(t *testing.T) {
	c, id := family(t)
	must(t, c.threads[0].Rotate(t.Context()))
	c.write(t, 0, "of the owner")
	c.meet(t)
	c.add(t, 1, newDevice(t, id, "phone"))
	o, laptop, phone := c.threads[0], c.threads[1], c.threads[2]
	c.write(t, 2, "of the phone")
	c.meet(t)
	wantCounted(t, o, "of the owner", "of the phone")
	wantCounted(t, phone, "of the owner", "of the phone")
	m, ok := o.Member(c.device(2))
	if !ok || m.Identity != id.Public() || m.Role != format.RoleWriter || m.Name != "phone" || m.Added {
		t.Fatalf("got %+v, %v", m, ok)
	}
	if err := phone.RemoveMember(t.Context(), c.device(1)); !errors.Is(err, ErrNotMember) {
		t.Errorf("the phone removes the laptop that added it: got %v", err)
	}
	must(t, laptop.RemoveMember(t.Context(), c.device(2)))
	c.meet(t, 0, 1)
	rotated, err := o.RotateIfDue(t.Context())
	must(t, err)
	if !rotated {
		t.Error("the owner's device does not change the key that the lost phone has")
	}
	if again, err := o.RotateIfDue(t.Context()); again || err != nil {
		t.Errorf("the key is changed again: %v, %v", again, err)
	}
	c.meet(t, 0, 1)
	c.write(t, 1, "secret")
	c.write(t, 2, "of the thief")
	c.meet(t)
	for _, th := range []*Thread{o, laptop} {
		wantCounted(t, th, "of the owner", "of the phone", "secret")
	}
	wantPayloads(t, phone, "of the owner", "of the phone", "of the thief")
	if err := laptop.AddDevice(t.Context(), c.nodes[2].env.cert); err != nil {
		t.Errorf("the phone was found: %v", err)
	}
}

// A phone that was added, and has begun nothing, can be taken back; it then begins nothing,
// and what it was given opens no later key.
func TestAddedDeviceIsTakenBack(t *testing.T) {
	c, id := family(t)
	o, laptop := c.threads[0], c.threads[1]
	d := newDevice(t, id, "phone")
	must(t, laptop.AddDevice(t.Context(), d.cert))
	if m, ok := laptop.Member(d.env.self()); !ok || !m.Added {
		t.Fatalf("got %+v, %v, want a device that was added", m, ok)
	}
	before := laptop.ControlRecords()
	must(t, laptop.AddDevice(t.Context(), d.cert))
	if laptop.ControlRecords() != before {
		t.Error("a device is added twice")
	}
	late, err := Begin(t.Context(), d.env, laptop.Genesis(), format.SecretKey(laptop.ServiceKey()))
	must(t, err)
	opened(t, late)
	tryPull(t, late, laptop)
	must(t, laptop.RemoveMember(t.Context(), d.env.self()))
	c.meet(t)
	if _, ok := o.Member(d.env.self()); ok {
		t.Error("a device that was taken back is a member")
	}
	must(t, late.FinishBegin(t.Context())) // it has not heard
	tryPull(t, o, late)
	if _, ok := o.Member(d.env.self()); ok {
		t.Error("a device that was taken back begins")
	}
	other := newDevice(t, id, "another")
	th, err := Begin(t.Context(), other.env, laptop.Genesis(), format.SecretKey(laptop.ServiceKey()))
	must(t, err)
	opened(t, th)
	tryPull(t, th, laptop)
	if err := th.FinishBegin(t.Context()); !errors.Is(err, ErrNotMember) || th.Joined() {
		t.Errorf("got %v of a device that nobody added, want ErrNotMember", err)
	}
}

// A rotation between the adding and the beginning is sealed to the device too.
func TestRotationReachesAnAddedDevice(t *testing.T) {
	c, id := family(t)
	o, laptop := c.threads[0], c.threads[1]
	d := newDevice(t, id, "phone")
	must(t, laptop.AddDevice(t.Context(), d.cert))
	c.meet(t)
	must(t, o.Rotate(t.Context()))
	c.write(t, 0, "under the new key")
	c.meet(t)
	th := d.begin(t, laptop)
	wantCounted(t, th, "under the new key")
	// One that did not know of it is followed by another.
	e := newDevice(t, id, "tablet")
	must(t, laptop.AddDevice(t.Context(), e.cert))
	must(t, o.Rotate(t.Context()))
	c.write(t, 0, "under the next key")
	c.meet(t)
	if rotated, err := o.RotateIfDue(t.Context()); !rotated || err != nil {
		t.Errorf("got %v, %v, want a rotation for the device that lacks the key", rotated, err)
	}
	c.meet(t)
	th = e.begin(t, laptop)
	wantCounted(t, th, "under the new key", "under the next key")
}

// Who is of another identity is not added, nor by a device that is no member; and an identity
// has no more devices than its share of an epoch.
func TestAddDeviceIsRefused(t *testing.T) {
	c, id := family(t)
	stranger := newDevice(t, keys.NewIdentity(), "strange")
	if err := c.threads[1].AddDevice(t.Context(), stranger.cert); !errors.Is(err, ErrNotMember) {
		t.Errorf("got %v of another identity's device, want ErrNotMember", err)
	}
	d := keys.NewDevice()
	for range MaxDevices - 1 {
		d = keys.NewDevice()
		cert, err := id.Certify(d.Public(), keys.CertifyOptions{Issued: time.Now()})
		must(t, err)
		must(t, c.threads[1].AddDevice(t.Context(), cert))
	}
	more, err := id.Certify(keys.NewDevice().Public(), keys.CertifyOptions{Issued: time.Now()})
	must(t, err)
	if err := c.threads[1].AddDevice(t.Context(), more); !errors.Is(err, format.ErrTooLarge) {
		t.Errorf("got %v of one device too many, want ErrTooLarge", err)
	}
	must(t, c.threads[1].RemoveMember(t.Context(), d.Public().Sign))
	must(t, c.threads[1].AddDevice(t.Context(), more))
	must(t, c.threads[0].RemoveMember(t.Context(), id.Public()))
	c.meet(t)
	if err := c.threads[1].AddDevice(t.Context(), more); !errors.Is(err, ErrNotMember) {
		t.Errorf("got %v by a device that was removed, want ErrNotMember", err)
	}
}

// A member that adds more devices than its share takes nobody's place in an epoch, and has
// nobody rotate without end.
func TestManyDevicesOfOneIdentity(t *testing.T) {
	c, id := family(t)
	for range 3 * MaxDevices { // by a device that does not count
		cert, err := id.Certify(keys.NewDevice().Public(), keys.CertifyOptions{Issued: time.Now()})
		must(t, err)
		encoded, err := cert.Encode()
		must(t, err)
		_, err = c.threads[1].appendControl(t.Context(), &format.Control{Op: format.OpDevice, Certificate: encoded, Subject: cert.Sign})
		must(t, err)
	}
	c.meet(t)
	o := c.threads[0]
	must(t, o.Rotate(t.Context()))
	o.mu.Lock()
	e, _ := o.graph.State(), 0
	n := len(e.Readers())
	epoch := e.Epochs()[0]
	lacking, _ := o.graph.Unsealed(epoch)
	o.mu.Unlock()
	if n != MaxDevices+1 || len(lacking) > 0 {
		t.Errorf("an epoch is sealed to %d devices, want %d; %d lack it", n, MaxDevices+1, len(lacking))
	}
	if again, err := o.RotateIfDue(t.Context()); again || err != nil {
		t.Errorf("the key is changed again: %v, %v", again, err)
	}
	ms := o.Members()
	if !slices.ContainsFunc(ms, func(m Member) bool { return m.Device == c.device(1) && !m.Added }) {
		t.Error("the laptop is no member any more")
	}
}

// The device that a phone came by is lost: the phone's removal of it has no effect, and the
// identity revokes it without a device. The revoked one adds nothing and removes nobody, and
// who lacks the identity's key revokes none.
func TestRevokedDevice(t *testing.T) {
	c, id := family(t)
	c.add(t, 1, newDevice(t, id, "phone"))
	o, laptop, phone := c.threads[0], c.threads[1], c.threads[2]
	c.write(t, 1, "of the laptop")
	c.meet(t)
	if err := phone.RevokeDevice(t.Context(), keys.NewIdentity(), c.device(1)); !errors.Is(err, ErrNotMember) {
		t.Errorf("got %v of another identity's revocation, want ErrNotMember", err)
	}
	if err := phone.RevokeDevice(t.Context(), id, c.device(2)); !errors.Is(err, ErrNotMember) {
		t.Errorf("got %v of a device that revokes itself, want ErrNotMember", err)
	}
	must(t, phone.RevokeDevice(t.Context(), id, c.device(1)))
	c.write(t, 1, "of the thief")
	must(t, laptop.RemoveMember(t.Context(), c.device(2)))
	c.meet(t)
	if rotated, err := o.RotateIfDue(t.Context()); !rotated || err != nil {
		t.Errorf("got %v, %v, want a new key", rotated, err)
	}
	c.meet(t, 0, 2)
	c.write(t, 2, "secret")
	c.meet(t)
	for _, th := range []*Thread{o, phone} {
		wantCounted(t, th, "of the laptop", "secret")
		if _, ok := th.Member(c.device(1)); ok {
			t.Error("the revoked device is a member")
		}
	}
	wantPayloads(t, laptop, "of the laptop", "of the thief")
	if err := phone.RevokeDevice(t.Context(), id, c.device(1)); !errors.Is(err, ErrNotFound) {
		t.Errorf("got %v of a second revocation, want ErrNotFound", err)
	}
	// A restart has the same, and the device can be added again.
	phone = c.nodes[2].reopen(t, phone)
	wantCounted(t, phone, "of the laptop", "secret")
	must(t, phone.AddDevice(t.Context(), c.nodes[1].env.cert))
	if m, ok := phone.Member(c.device(1)); !ok || !m.Added {
		t.Errorf("got %+v, %v, want a device that was added again", m, ok)
	}
}

// A device that removes another again and again has the owner's device change the key once,
// and once more if that was added and removed again.
func TestRemovalsAgainChangeNoKey(t *testing.T) {
	c, id := family(t)
	c.add(t, 1, newDevice(t, id, "phone"))
	o, laptop := c.threads[0], c.threads[1]
	rotations := func() (n int) {
		t.Helper()
		c.meet(t, 0, 1)
		for {
			did, err := o.RotateIfDue(t.Context())
			must(t, err)
			if !did {
				return n
			}
			n++
		}
	}
	if n := rotations(); n != 0 {
		t.Errorf("%d rotations before anything", n)
	}
	remove := func() {
		t.Helper()
		_, err := laptop.appendControl(t.Context(), &format.Control{Op: format.OpRemove, Subject: c.device(2)})
		must(t, err)
	}
	remove()
	if n := rotations(); n != 1 {
		t.Errorf("%d rotations after the removal, want 1", n)
	}
	for range 5 {
		remove()
	}
	if n := rotations(); n != 0 {
		t.Errorf("%d rotations after the same removal again, want none", n)
	}
	must(t, laptop.AddDevice(t.Context(), c.nodes[2].env.cert))
	if n := rotations(); n != 0 { // the record gives it the key
		t.Errorf("%d rotations after it was added again", n)
	}
	remove()
	if n := rotations(); n != 1 {
		t.Errorf("%d rotations after it was removed again, want 1", n)
	}
}

// A stranger's revocation, and one of a device of another identity, are kept by nobody.
func TestForeignRevocationIsNotKept(t *testing.T) {
	c, _ := family(t)
	o := c.threads[0]
	eve := keys.NewIdentity()
	before := o.ControlRecords()
	o.mu.Lock()
	p := &format.Control{Op: format.OpRevoke, Subject: c.device(1)}
	d := format.NewDescriptor(eve.Public(), format.KindControl, clock.LogID{})
	h := &format.Header{Log: d.LogID(o.id), Seq: 1, Epochs: o.firstEpoch(), Control: o.graph.NamedWith(p), Time: o.env.clock.Now()}
	body, root, err := o.env.sealer.Seal(o.keys.Service, format.Position{Thread: o.id, Log: h.Log, Seq: 1}, &format.Plaintext{Payload: p.Encode()})
	o.mu.Unlock()
	must(t, err)
	h.Root = root
	r := format.Record{Header: h.Encode(), Body: body}
	hash := format.RecordHash(o.id, r.Header)
	_, err = o.Ingest(t.Context(), format.Run{Descriptor: d.Encode(), Records: []format.Record{r}, Signature: eve.Sign(format.DomainHead, o.id[:], hash[:])})
	if err == nil || o.ControlRecords() != before {
		t.Errorf("got %v, and %d control records", err, o.ControlRecords()-before)
	}
}
