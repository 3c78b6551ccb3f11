package node

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base32"
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/keys"
)

// A Space is what one identity has at this node under one account: databases by names that mean
// nothing elsewhere. What a caller names is looked up in its space and nowhere else.
type Space struct {
	n       *Node
	prefix  string // of the names that its databases have in the node; "" for the node's own
	anyName bool   // also of names that nobody can give
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
	return &Space{n: n, prefix: ofSpaces + spaceID(account, user) + "/"}
}

// ofSpaces begins the names of databases of other spaces. Nobody can give such a name, nor that
// of the mailbox, which begins alike: they are in no list of the node's own.
const ofSpaces = "@"

// spaceID is the name of a space, of 32 characters: a hash, so that it tells nobody's identity.
func spaceID(account, user keys.PublicKey) string {
	h := sha256.New()
	h.Write([]byte("weft/1/space\x00"))
	h.Write(account[:])
	h.Write(user[:])
	return strings.ToLower(base32.StdEncoding.EncodeToString(h.Sum(nil)[:20]))
}

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
func (s *Space) told(err error) error {
	if err == nil || s.prefix == "" || !strings.Contains(err.Error(), s.prefix) {
		return err
	}
	return &spaceError{err, strings.ReplaceAll(err.Error(), s.prefix, "")}
}

type spaceError struct {
	error
	text string
}

func (e *spaceError) Error() string { return e.text }
func (e *spaceError) Unwrap() error { return e.error }

// Create is [Node.CreateDatabase] in the space.
func (s *Space) Create(ctx context.Context, name string) (*db.DB, error) {
	if s.prefix != "" {
		return nil, fault.Of(ErrDenied, "this hub hosts no databases of users yet: keep yours on a device, and have this hub relay it")
	}
	return s.n.CreateDatabase(ctx, name)
}

// Database is [Node.Database] in the space.
func (s *Space) Database(ctx context.Context, name string) (*db.DB, error) {
	full, err := s.full(name)
	if err != nil {
		return nil, err
	}
	d, err := s.n.Database(ctx, full)
	return d, s.told(err)
}

// Ref is [Node.DatabaseRef] in the space.
func (s *Space) Ref(name string) (DatabaseRef, error) {
	full, err := s.full(name)
	if err != nil {
		return DatabaseRef{}, err
	}
	r, err := s.n.DatabaseRef(full)
	r.Name = name
	return r, s.told(err)
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
	full, err := s.full(name)
	if err != nil {
		return DatabaseInfo{}, err
	}
	i, err := s.n.DatabaseInfo(ctx, full)
	i.Name = name
	return i, s.told(err)
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
