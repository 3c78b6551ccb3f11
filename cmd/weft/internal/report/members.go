package report

import (
	"fmt"
	"io"

	weftv1 "github.com/weftdb/weft/node/api/weft/v1"

	"github.com/weftdb/weft/cmd/weft/internal/words"
)

// Members are the devices of a database, those that wait to be admitted, and who used its
// recovery keys.
type Members struct {
	Members []member `json:"members"`
	Waiting []join   `json:"waiting"`

	Recoverable bool       `json:"recoverable"` // there is a recovery key that was not used
	Recovered   []recovery `json:"recovered,omitempty"`
	Frozen      []recovery `json:"frozen,omitempty"`

	name string // of the database
}

// MembersOf reads the members of the database with a name.
func MembersOf(name string, m *weftv1.MembersResponse) Members {
	out := Members{
		name: name, Members: []member{}, Waiting: []join{}, Recoverable: m.GetRecoverable(),
		Recovered: recoveriesOf(m.GetRecovered()), Frozen: recoveriesOf(m.GetFrozen()),
	}
	for _, x := range m.GetMembers() {
		out.Members = append(out.Members, member{
			x.GetPeer(), x.GetIdentity(), x.GetName(), x.GetRole(), words.When(x.GetSince()), x.GetSelf(), x.GetAdded(),
		})
	}
	for _, x := range m.GetWaiting() {
		out.Waiting = append(out.Waiting, joinOf(x))
	}
	return out
}

// Write tells of them in tables.
func (a Members) Write(w io.Writer) {
	rows := [][]string{{"DEVICE", "IDENTITY", "NAME", "ROLE", "SINCE"}}
	for _, m := range a.Members {
		rows = append(rows, []string{m.Peer, m.Identity, m.Name, m.Role, words.Short(m.Since), m.note()})
	}
	words.Table(w, rows...)
	printRecoveries(w, a.Recovered, a.Frozen)
	if len(a.Waiting) == 0 {
		return
	}
	fmt.Fprintf(w, "\n%s to be admitted by an owner or admin: weft db admit %s JOIN\n", devicesWait(int64(len(a.Waiting))), a.name)
	rows = [][]string{{"JOIN", "DEVICE", "IDENTITY", "NAME", "JOINED"}}
	for _, j := range a.Waiting {
		rows = append(rows, []string{j.ID[:min(len(j.ID), shownID)], j.Peer, j.Identity, j.Name, words.Short(j.Time), j.note()})
	}
	words.Table(w, rows...)
}

// shownID is how much of a join's ID people see: enough to name it.
const shownID = 16

// A member is a device that may take part in a database.
type member struct {
	Peer     string  `json:"peer"`
	Identity string  `json:"identity"`
	Name     string  `json:"name"`
	Role     string  `json:"role"`
	Since    *string `json:"since"`
	Self     bool    `json:"self"`
	Added    bool    `json:"added,omitempty"` // by another device of its identity; it has not begun
}

// note tells what is special about it.
func (m *member) note() string {
	if m.Added {
		return "has not begun"
	}
	return thisDevice(m.Self)
}

// A join is a device that waits until an owner or admin admits it.
type join struct {
	ID       string  `json:"id"`
	Peer     string  `json:"peer"`
	Identity string  `json:"identity"`
	Name     string  `json:"name"`
	Invite   string  `json:"invite"`
	Time     *string `json:"time"`
	Self     bool    `json:"self"`
	Barred   bool    `json:"barred"` // its identity was removed or left before
}

func joinOf(m *weftv1.WaitingJoin) join {
	return join{m.GetId(), m.GetPeer(), m.GetIdentity(), m.GetName(), m.GetInvite(), words.When(m.GetTime()), m.GetSelf(), m.GetBarred()}
}

// why tells why it waits.
func (j *join) why() string {
	if j.Barred {
		return "its identity was removed or left before"
	}
	return "its invite was closed before its join was known"
}

// note tells what is special about it.
func (j *join) note() string {
	switch {
	case j.Barred && j.Self:
		return "barred, this device"
	case j.Barred:
		return "barred"
	}
	return thisDevice(j.Self)
}

func thisDevice(self bool) string {
	if self {
		return "this device"
	}
	return ""
}

// devicesWait tells how many devices wait: "1 device waits", "2 devices wait".
func devicesWait(n int64) string {
	if n == 1 {
		return "1 device waits"
	}
	return words.Count(n, "device") + " wait"
}

// A recovery is one use of a recovery key.
type recovery struct {
	Peer     string  `json:"peer"`
	Identity string  `json:"identity"`
	Name     string  `json:"name"`
	Time     *string `json:"time"`
}

func recoveriesOf(all []*weftv1.Recovery) (out []recovery) {
	for _, r := range all {
		out = append(out, recovery{r.GetPeer(), r.GetIdentity(), r.GetName(), words.When(r.GetTime())})
	}
	return out
}

// printRecoveries says who used recovery keys, and that nobody's rights change any more.
func printRecoveries(w io.Writer, used, frozen []recovery) {
	if len(used) > 0 {
		fmt.Fprintln(w, "\nrecovered with a recovery key:")
		words.Table(w, recoveryRows(used)...)
	}
	if len(frozen) > 0 {
		fmt.Fprintln(w, "\nNOBODY'S RIGHTS CHANGE ANY MORE: the recovery key was used by several, who did not know of each other.")
		fmt.Fprintln(w, "Documents are still written. Make a new database, and import an export of this one. It was used by")
		words.Table(w, recoveryRows(frozen)...)
	}
}

func recoveryRows(all []recovery) [][]string {
	rows := [][]string{{"DEVICE", "IDENTITY", "NAME", "TIME"}}
	for _, r := range all {
		rows = append(rows, []string{r.Peer, r.Identity, r.Name, words.Short(r.Time)})
	}
	return rows
}
