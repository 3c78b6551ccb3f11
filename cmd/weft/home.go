package main

import (
	"errors"
	"io/fs"
	"os"
	"slices"

	"github.com/weftdb/weft/cmd/weft/internal/tty"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/node"
)

// ofHome are names of which a home has one at least, also one that is damaged.
var ofHome = []string{"VERSION", "LOCK", "identity.key", "identity.did", "device.key", "device.request", "device.cert", "store", "databases.note"}

// thereIs reports whether the folder is a home, and whether there is anything in it.
func (a *app) thereIs() (home, something bool) {
	files, err := os.ReadDir(a.home)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return true, true // whatever is wrong is told as it is opened
	}
	for _, f := range files {
		home = home || slices.Contains(ofHome, f.Name())
	}
	return home, len(files) > 0
}

// existing refuses a home that is not there: a folder that was mistyped would be another
// identity.
func (a *app) existing() error {
	if a.api != "" {
		return nil
	}
	home, something := a.thereIs()
	switch {
	case home:
		return nil
	case something:
		return fault.Errorf(fault.NotFound, "%s holds other files and no home: name another folder with --home or WEFT_HOME", tty.Printable(a.home))
	}
	return fault.Errorf(fault.NotFound, "there is no home in %s: weft init makes one", tty.Printable(a.home))
}

// room refuses to make a home among other files.
func (a *app) room() error {
	if home, something := a.thereIs(); something && !home {
		return fault.Of(node.ErrInvalid, "%s holds other files: name a folder that is empty or not there", tty.Printable(a.home))
	}
	return nil
}
