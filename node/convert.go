package node

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store/engines"
	"github.com/weftdb/weft/node/internal/homedir"
)

// DefaultEngine is the engine of the store of a new home.
const DefaultEngine = engines.Default

// Engines returns the names of the engines that a home's store can have.
func Engines() []string { return engines.Names() }

// checkEngine checks the name of an engine; "" is any.
func checkEngine(name string) error {
	if name != "" && !slices.Contains(Engines(), name) {
		return fault.Of(ErrInvalid, "unknown engine %.40q: want one of %s", name, strings.Join(Engines(), ", "))
	}
	return nil
}

// ConvertHome moves the store of a home to another engine and returns the one that it
// had. No process may have the home open.
func ConvertHome(ctx context.Context, dir, engine string) (was string, err error) {
	if err := checkEngine(engine); err != nil { // before anything is made
		return "", err
	}
	h, err := homedir.Open(ctx, dir, 0)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, h.Close()) }()
	if was, err = engines.Engine(h.Path(homedir.DirStore)); err != nil || was == engine {
		return was, err
	}
	if err := h.CheckRoom(); err != nil {
		return was, err
	}
	return was, engines.Convert(ctx, h.Path(homedir.DirStore), engine, nil)
}
