package node

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/node/internal/hosting"
)

// A Space is what one identity has at this node under one account: databases by names that mean
// nothing elsewhere. What a caller names is looked up in its space and nowhere else.
type Space struct {
	n       *Node
	prefix  string // of the names that its databases have in the node; "" for the node's own
	account keys.PublicKey
	user    keys.PublicKey // identity whose it is
	anyName bool           // also of names that nobody can give
}

// Own returns the space of this node's identity as this program and the administrator see it,
// with the mailbox.
func (n *Node) Own() *Space { return &Space{n: n, anyName: true} }

// Space returns the space of an identity under an account. That of the node's identity under
// itself has the databases that Own has, without the mailbox.
func (n *Node) Space(account, user keys.PublicKey) *Space {
	if user == account && user == n.Identity() {
		return &Space{n: n}
	}
	return &Space{n: n, prefix: ofSpaces + hosting.SpaceID(account, user) + "/", account: account, user: user}
}

// ofSpaces begins the names of databases of other spaces. Nobody can give such a name, nor that
// of the mailbox, which begins alike: they are in no list of the node's own.
const ofSpaces = "@"

// full returns the name that a database of the space has in the node.
func (s *Space) full(name string) (string, error) {
	if s.anyName {
		return name, nil
	}
	if err := checkName(name); err != nil {
		return "", err
	}
	return s.prefix + name, nil
}

// within reports whether a database of the node is one of the space, and its name there.
func (s *Space) within(full string) (name string, ok bool) {
	name, ok = strings.CutPrefix(full, s.prefix)
	return name, ok && !strings.HasPrefix(name, ofSpaces)
}

// told gives an error of the node the names that the space has.
func (s *Space) told(err error) error { return hosting.Without(s.prefix, err) }

// hosted reports whether a database of the node is of a space of others than its identity.
func (d *database) hosted() bool { return d.name != mailboxName && strings.HasPrefix(d.name, ofSpaces) }

// maxOfSpace is how many databases a hub keeps in a space of another identity than its own.
const maxOfSpace = 100

// Offer returns the device of this hub to which the identity of a space is to delegate that it
// writes for it, and the device's generation. The node's own space needs none.
func (s *Space) Offer() (keys.DevicePublic, uint64, error) {
	if s.prefix == "" {
		return keys.DevicePublic{}, 0, fault.Of(ErrInvalid, "this hub is a device of yours: it needs no delegation")
	}
	return s.n.hosting.Offer(s.user)
}

// Delegate takes the delegation that the identity of a space signed to the device of Offer.
func (s *Space) Delegate(encoded []byte) error {
	if _, _, err := s.Offer(); err != nil {
		return err
	}
	return s.n.hosting.Delegate(s.user, encoded, time.Now())
}

// Room returns how many bytes may be written into the space now, negative for no bound.
func (s *Space) Room() (int64, error) {
	if s.prefix == "" {
		return -1, nil
	}
	if _, err := s.n.hosting.InForce(s.user); err != nil {
		return 0, err
	}
	limit, used := cmp.Or(s.n.cfg.SpaceBytes, 1<<30), int64(0)
	for _, d := range s.of() {
		c := d.thread.Counts()
		used += c.Bytes + c.BlobBytes
	}
	if used >= limit {
		return 0, fault.Errorf(fault.QuotaExceeded, "this hub keeps %d bytes for a user, and has %d of yours: remove some", limit, used)
	}
	return limit - used, nil
}

// of returns the databases of the space.
func (s *Space) of() (all []*database) {
	s.n.mu.Lock()
	defer s.n.mu.Unlock()
	for full, d := range s.n.databases {
		if _, ok := s.within(full); ok {
			all = append(all, d)
		}
	}
	return all
}

// Create makes a database in the space: in the node's own as [Node.CreateDatabase] does, in
// another one by the delegation of its identity, which is the owner.
func (s *Space) Create(ctx context.Context, name string) (*db.DB, error) {
	if s.prefix == "" {
		return s.n.CreateDatabase(ctx, name)
	}
	full, err := s.full(name)
	if err != nil {
		return nil, err
	}
	d, err := s.n.hosting.InForce(s.user)
	if err != nil {
		return nil, err
	}
	s.n.naming.Lock()
	defer s.n.naming.Unlock()
	if err := s.n.free(full); err != nil {
		return nil, s.told(err)
	}
	if len(s.of()) >= maxOfSpace {
		return nil, fault.Errorf(fault.QuotaExceeded, "this hub keeps %d databases for a user, and has as many of yours", maxOfSpace)
	}
	if err := s.n.hosting.Begin(hosting.SpaceID(s.account, s.user), s.account, s.user, time.Now()); err != nil {
		return nil, err
	}
	t, err := s.n.host.CreateFor(ctx, name, d, keys.PublicKey{})
	if err != nil {
		return nil, err
	}
	out, err := s.n.made(ctx, full, t)
	return out, s.told(err)
}

// in has the node do something with a database that the space names.
func in[T any](s *Space, name string, do func(full string) (T, error)) (out T, err error) {
	full, err := s.full(name)
	if err != nil {
		return out, err
	}
	out, err = do(full)
	return out, s.told(err)
}

// Database is [Node.Database] in the space.
func (s *Space) Database(ctx context.Context, name string) (*db.DB, error) {
	return in(s, name, func(full string) (*db.DB, error) { return s.n.Database(ctx, full) })
}

// Ref is [Node.DatabaseRef] in the space.
func (s *Space) Ref(name string) (DatabaseRef, error) {
	r, err := in(s, name, s.n.DatabaseRef)
	r.Name = name
	return r, err
}

// Databases returns the databases of the space by name, those that are not served too.
func (s *Space) Databases() []DatabaseRef {
	var out []DatabaseRef
	for _, d := range s.n.all() {
		name, ok := s.within(d.name)
		if !ok {
			continue
		}
		r := DatabaseRef{ID: d.thread.ID(), Name: name, Lost: s.n.lostOf(d)}
		if d.rebuilding.Load() {
			r.Damage = "it is being rebuilt: it is served when a relay or a member has given all that it holds"
		}
		out = append(out, r)
	}
	for _, d := range s.n.Damages() {
		if name, ok := s.within(d.Database); ok && d.Database != "" {
			out = append(out, DatabaseRef{ID: d.ID, Name: name, Damage: strings.ReplaceAll(d.Reason, d.Database, name)})
		}
	}
	slices.SortFunc(out, func(a, b DatabaseRef) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// Info is [Node.DatabaseInfo] in the space.
func (s *Space) Info(ctx context.Context, name string) (DatabaseInfo, error) {
	i, err := in(s, name, func(full string) (DatabaseInfo, error) { return s.n.DatabaseInfo(ctx, full) })
	i.Name = name
	return i, err
}

// Status is [Node.DatabaseStatus] in the space.
func (s *Space) Status(ctx context.Context, name string) (DatabaseStatus, <-chan struct{}, error) {
	full, err := s.full(name)
	if err != nil {
		return DatabaseStatus{}, nil, err
	}
	st, changed, err := s.n.DatabaseStatus(ctx, full)
	st.Name = name
	return st, changed, s.told(err)
}

// Run is [Node.RunCommand] in the space.
func (s *Space) Run(ctx context.Context, database string, command bson.Raw) (reply bson.Raw, told, err error) {
	full, err := s.full(database)
	if err != nil {
		return nil, nil, err
	}
	reply, told, err = s.n.RunCommand(ctx, full, command)
	return reply, told, s.told(err)
}

// Remove is [Node.RemoveDatabase] in the space.
func (s *Space) Remove(ctx context.Context, name string) error {
	full, err := s.full(name)
	if err != nil {
		return err
	}
	return s.told(s.n.removeDatabase(ctx, full))
}
