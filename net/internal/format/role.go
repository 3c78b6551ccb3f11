package format

import (
	"fmt"

	"github.com/weftdb/weft/internal/fault"
)

// A Role says what a member may do in a thread.
type Role uint8

// Roles, the one that may do most first. Nobody is given that of a relay yet.
const (
	RoleOwner  Role = 1
	RoleAdmin  Role = 2
	RoleWriter Role = 3
	RoleReader Role = 4
	RoleRelay  Role = 5
)

// String returns the name of the role.
func (r Role) String() string {
	switch r {
	case 0:
		return "none"
	case RoleOwner:
		return "owner"
	case RoleAdmin:
		return "admin"
	case RoleWriter:
		return "writer"
	case RoleReader:
		return "reader"
	case RoleRelay:
		return "relay"
	}
	return fmt.Sprintf("role %d", uint8(r))
}

// ParseRole returns the role with a name. A role that cannot be given yet is
// [ErrOperation].
func ParseRole(name string) (Role, error) {
	for r := RoleOwner; r <= RoleRelay; r++ {
		if r.String() == name {
			return r, r.Check()
		}
	}
	return 0, fault.Of(ErrMalformed, "unknown role %.40q", name)
}

// Check refuses roles that cannot be given yet, by name.
func (r Role) Check() error {
	if r < RoleOwner || r >= RoleRelay {
		return fault.Of(ErrOperation, "role %s cannot be given yet", r)
	}
	return nil
}

// CanWrite reports whether a member with the role may write data logs.
func (r Role) CanWrite() bool { return r == RoleOwner || r == RoleAdmin || r == RoleWriter }
