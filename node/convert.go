package node

import (
	"context"
	"errors"

	"github.com/weftdb/weft/internal/store/engines"
)

// DefaultEngine is the engine of the store of a new home.
const DefaultEngine = engines.Default

// Engines returns the names of the engines that a home's store can have.
func Engines() []string { return engines.Names() }

// ConvertHome moves the store of a home to another engine and returns the one that it
// had. No process may have the home open.
func ConvertHome(ctx context.Context, dir, engine string) (was string, err error) {
	h, err := openHome(ctx, dir, 0)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, h.close()) }()
	if was, err = engines.Engine(h.path(dirStore)); err != nil || was == engine {
		return was, err
	}
	if err := h.checkRoom(); err != nil {
		return was, err
	}
	return was, engines.Convert(ctx, h.path(dirStore), engine, nil)
}
