package report

import (
	"fmt"
	"io"
	"strings"

	weftv1 "github.com/weftdb/weft/node/api/weft/v1"

	"github.com/weftdb/weft/cmd/weft/internal/tty"
	"github.com/weftdb/weft/cmd/weft/internal/words"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/node"
)

// Devices are those of this identity.
type Devices []device

// DevicesOf reads devices.
func DevicesOf(m *weftv1.ListDevicesResponse) Devices {
	out := Devices{}
	for _, d := range m.GetDevices() {
		x := device{d.GetPeer(), d.GetName(), d.GetSelf(), []deviceIn{}}
		for _, in := range d.GetDatabases() {
			x.Databases = append(x.Databases, deviceIn{in.GetDatabase(), in.GetRole(), words.When(in.GetSince()), in.GetAdded()})
		}
		out = append(out, x)
	}
	return out
}

// Write tells of them in a table.
func (all Devices) Write(w io.Writer) {
	rows := [][]string{{"DEVICE", "NAME", "DATABASES"}}
	for _, d := range all {
		var in []string
		for _, x := range d.Databases {
			name := x.Database
			if x.Added {
				name += " (has not begun)"
			}
			in = append(in, name)
		}
		rows = append(rows, []string{d.Peer, d.Name, strings.Join(in, ", "), thisDevice(d.Self)})
	}
	words.Table(w, rows...)
}

// A device is a device of this identity.
type device struct {
	Peer      string     `json:"peer"`
	Name      string     `json:"name"`
	Self      bool       `json:"self"`
	Databases []deviceIn `json:"databases"`
}

// A deviceIn says how a device takes part in a database.
type deviceIn struct {
	Database string  `json:"database"`
	Role     string  `json:"role"`
	Since    *string `json:"since"`
	Added    bool    `json:"added"` // it has not begun
}

// A Change says what became of a device in one database.
type Change struct {
	Database string `json:"database"`
	Reason   string `json:"reason,omitempty"` // why nothing was changed
}

// ChangesOf reads changes.
func ChangesOf(all []*weftv1.DeviceChange) []Change {
	out := []Change{}
	for _, c := range all {
		out = append(out, Change{c.GetDatabase(), c.GetReason()})
	}
	return out
}

// WriteChanges says for people what was done in which databases, and where not and why.
func WriteChanges(w io.Writer, done string, all []Change) {
	for _, c := range all {
		if c.Reason == "" {
			fmt.Fprintf(w, "%s %s\n", done, tty.Printable(c.Database))
		} else {
			fmt.Fprintf(w, "not %s %s: %s\n", done, tty.Printable(c.Database), tty.Printable(c.Reason))
		}
	}
}

// FailedChanges is the error of a command that went nowhere, or not everywhere.
func FailedChanges(what string, all []Change) error {
	n := 0
	for _, c := range all {
		if c.Reason != "" {
			n++
		}
	}
	if n == 0 {
		return nil
	}
	return fault.Of(node.ErrInvalid, "%s in %d of %s: see above", what, n, words.Count(int64(len(all)), "database"))
}
