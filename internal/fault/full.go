package fault

import (
	"errors"
	"slices"
)

// NoRoom reports whether err is how the system says that a disk, or the user's share of
// it, is full.
func NoRoom(err error) bool {
	return slices.ContainsFunc(noRoom, func(n error) bool { return errors.Is(err, n) })
}
