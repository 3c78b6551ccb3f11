package node

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/multiformats/go-multiaddr"

	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/net"
	"github.com/weftdb/weft/node/internal/pairing"
)

// A DeviceChange says what became of a device in one database.
type DeviceChange struct {
	Database string
	Err      error // why nothing was changed there; nil if it was, or needs no change
}

// AddDevice certifies the device of a request as one of this node's identity, and lets it
// into databases, of the names given or all in which this device takes part. reply is what
// the new home needs, sealed to it: [BecomeDevice], [Node.AcceptDevice]. What does not go in
// one of all databases is in changes; of named ones it is an error, and nothing is answered.
func (n *Node) AddDevice(ctx context.Context, request string, databases []string) (device keys.PublicKey, reply string, changes []DeviceChange, err error) {
	r, err := pairing.ParseRequest(request)
	if err != nil {
		return device, "", nil, err
	}
	reply, changes, err = n.addDevice(ctx, r, databases)
	return r.Device.Sign, reply, changes, err
}

// AddKnownDevice is [Node.AddDevice] of a device that takes part in a database of this node
// already: it needs no request.
func (n *Node) AddKnownDevice(ctx context.Context, device keys.PublicKey, databases []string) (reply string, changes []DeviceChange, err error) {
	of, _ := n.namedOrAll(nil) // never fails
	for _, d := range of {
		for _, m := range d.thread.Members() {
			if m.Device == device && m.Identity == n.Identity() {
				return n.addDevice(ctx, pairing.Request{Device: keys.DevicePublic{Sign: m.Device, Seal: m.Seal}, Name: m.Name}, databases)
			}
		}
	}
	return "", nil, fault.Of(ErrNotFound, "%s takes part in no database of this node: give its request, which weft init --device prints", device.DID())
}

func (n *Node) addDevice(ctx context.Context, r pairing.Request, databases []string) (reply string, changes []DeviceChange, err error) {
	if n.self.Identity == nil {
		return "", nil, fault.Of(ErrInvalid, "this home has no identity key, which certifies devices: add devices in the home that has it")
	}
	if r.Device == n.self.Device.Public() {
		return "", nil, fault.Of(ErrInvalid, "a device does not add itself: run weft device add in the home that has the identity")
	}
	cert, err := n.self.Identity.Certify(r.Device, keys.CertifyOptions{Name: r.Name, Issued: time.Now()})
	if err != nil {
		return "", nil, err
	}
	of, err := n.namedOrAll(databases)
	if err != nil {
		return "", nil, err
	}
	out := pairing.Reply{Certificate: cert}
	for _, d := range of {
		err := n.decided(d.name, func(t *net.Thread) error { return t.AddDevice(ctx, cert) })
		if err != nil && (len(databases) > 0 || ctx.Err() != nil) {
			return "", nil, err
		}
		changes = append(changes, DeviceChange{d.name, err})
		if err == nil {
			out.Databases = append(out.Databases, pairing.Database{ID: d.thread.ID(), Service: d.thread.ServiceKey(), Name: d.name})
		}
	}
	if err := n.pointers(&out); err != nil {
		return "", nil, err
	}
	reply, err = out.Text()
	return reply, changes, err
}

// namedOrAll returns databases by their names, or all but the mailbox.
func (n *Node) namedOrAll(names []string) (of []*database, err error) {
	if len(names) == 0 {
		return slices.DeleteFunc(n.all(), func(d *database) bool { return strings.HasPrefix(d.name, ofSpaces) }), nil
	}
	for _, name := range names {
		d, err := n.lookup(name)
		if err != nil {
			return nil, err
		}
		of = append(of, d)
	}
	return of, nil
}

// pointers puts into a reply where databases are found: the relays, with the keys that are
// shown to them, and this node.
func (n *Node) pointers(out *pairing.Reply) error {
	relays, err := n.Relays()
	if err != nil {
		return err
	}
	for _, r := range relays {
		secret, err := n.home.Secret(r.Peer.String(), n.cfg.Passphrase)
		if err != nil {
			return err
		}
		x := pairing.Relay{Addr: r.Addr.String(), Key: r.Key}
		if secret != nil {
			x.Secret = string(secret.Secret().Reveal())
		}
		out.Relays = append(out.Relays, x)
	}
	out.Addrs = n.Addrs()
	return nil
}

// AcceptDevice takes part in the databases of a reply, which the home that has the identity
// has written for this device, and adds its relays. A database that nobody in reach holds is
// in changes with the reason: the reply can be taken again.
func (n *Node) AcceptDevice(ctx context.Context, reply string) (changes []DeviceChange, err error) {
	r, err := pairing.OpenReply(reply, n.self.Device)
	if err != nil {
		return nil, err
	}
	if r.Certificate.Identity != n.Identity() {
		return nil, fault.Of(ErrInvalid, "the reply is of %s, and this home of %s: accept it in a home of its own", r.Certificate.Identity.DID(), n.Identity().DID())
	}
	var addrs []multiaddr.Multiaddr
	known, err := n.Relays()
	if err != nil {
		return nil, err
	}
	for _, x := range r.Relays {
		a, err := multiaddr.NewMultiaddr(x.Addr)
		if err != nil {
			return nil, fault.Of(ErrInvalid, "the reply names a relay with an invalid address: %v", err)
		}
		addrs = append(addrs, a)
		if slices.ContainsFunc(known, func(k Relay) bool { return k.Addr.Equal(a) }) {
			continue
		}
		if _, err := n.AddRelay(ctx, a.String(), RelayOptions{Key: x.Key, Secret: x.Secret}); err != nil {
			return nil, err
		}
	}
	for _, x := range r.Addrs {
		if a, err := multiaddr.NewMultiaddr(x); err == nil {
			addrs = append(addrs, a)
		}
	}
	for _, d := range r.Databases {
		name, err := n.begin(ctx, d, addrs)
		if ctx.Err() != nil {
			return changes, ctx.Err()
		}
		changes = append(changes, DeviceChange{cmp.Or(name, d.Name), err})
	}
	return changes, nil
}

// begin takes part in one database of a reply, under its name or one like it.
func (n *Node) begin(ctx context.Context, d pairing.Database, addrs []multiaddr.Multiaddr) (name string, err error) {
	n.naming.Lock()
	defer n.naming.Unlock()
	for _, have := range n.all() {
		if have.thread.ID() == d.ID { // from which this device may have been removed meanwhile
			_, err := n.host.Begin(ctx, d.ID, d.Service, addrs)
			return have.name, enterError(err)
		}
	}
	if err := cmp.Or(n.absent(d.ID), n.finishRemovals(ctx)); err != nil {
		return "", err
	}
	t, err := n.host.Begin(ctx, d.ID, d.Service, addrs)
	if err != nil {
		return "", enterError(err)
	}
	if name, err = n.freeName(d.Name); err == nil {
		_, err = n.adopt(ctx, name, t)
	}
	return name, err
}

// enterError says what to do when no peer has let this device in.
func enterError(err error) error {
	if refused, ok := errors.AsType[*keys.Refusal](err); ok && refused.Code == net.CodeBadInvite {
		return refused
	}
	if !fault.Is(err, fault.Internal) {
		return err
	}
	return fault.Of(ErrUnreachable, "%v: try again when a relay or a member of the database is online", err)
}

// A Device is one of this node's identity.
type Device struct {
	Key       keys.PublicKey
	Name      string
	Databases []DeviceIn // in which it takes part
}

// A DeviceIn says how a device takes part in a database.
type DeviceIn struct {
	Database string
	Role     string
	Since    time.Time
	Added    bool // it was added and has not begun
}

// Devices returns the devices of this node's identity that databases of this node know, and
// this device, the one that takes part for longest first.
func (n *Node) Devices() []Device {
	all := []Device{{Key: n.Device(), Name: n.self.Certificate.Name}}
	first := map[keys.PublicKey]time.Time{}
	of, _ := n.namedOrAll(nil) // never fails
	for _, d := range of {
		for _, m := range d.thread.Members() {
			if m.Identity != n.Identity() {
				continue
			}
			i := slices.IndexFunc(all, func(x Device) bool { return x.Key == m.Device })
			if i < 0 {
				i, all = len(all), append(all, Device{Key: m.Device})
			}
			since := m.Since.Wall()
			all[i].Name = cmp.Or(m.Name, all[i].Name)
			all[i].Databases = append(all[i].Databases, DeviceIn{d.name, m.Role.String(), since, m.Added})
			if at, known := first[m.Device]; !known || since.Before(at) {
				first[m.Device] = since
			}
		}
	}
	slices.SortStableFunc(all, func(a, b Device) int { return first[a.Key].Compare(first[b.Key]) })
	return all
}

// RemoveDevice ends the membership of a device of this node's identity in databases, of the
// names given or all in which it takes part. One that is senior to this device is revoked by
// the identity itself, if this home has its key. What does not go is in changes.
func (n *Node) RemoveDevice(ctx context.Context, device keys.PublicKey, databases []string) (changes []DeviceChange, err error) {
	if device == n.Device() {
		return nil, fault.Errorf(fault.NotMember, "a device does not remove itself: it leaves, with weft db leave")
	}
	of, err := n.namedOrAll(databases)
	if err != nil {
		return nil, err
	}
	for _, d := range of {
		own := func(m Member) bool { return m.Device == device && m.Identity == n.Identity() }
		if !slices.ContainsFunc(d.thread.Members(), own) {
			if len(databases) > 0 {
				changes = append(changes, DeviceChange{d.name, fault.Of(ErrNotFound, "the device is no member, or of another identity")})
			}
			continue
		}
		changes = append(changes, DeviceChange{d.name, n.decided(d.name, func(t *net.Thread) error { return n.removeDevice(ctx, t, device) })})
	}
	if len(changes) == 0 {
		return nil, fault.Of(ErrNotFound, "%s takes part in no database of this node: weft device ls lists the devices", device.DID())
	}
	return changes, nil
}

func (n *Node) removeDevice(ctx context.Context, t *net.Thread, device keys.PublicKey) error {
	err := t.RemoveMember(ctx, device)
	if !errors.Is(err, net.ErrNotMember) {
		return err
	}
	if n.self.Identity == nil {
		return fault.Of(net.ErrNotMember, "%v; in the home that has the identity key, weft device rm removes it all the same", err)
	}
	return t.RevokeDevice(ctx, n.self.Identity, device)
}
