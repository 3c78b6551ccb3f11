package report

import (
	"encoding/hex"
	"fmt"
	"io"
	"strings"

	weftv1 "github.com/weftdb/weft/node/api/weft/v1"

	"github.com/weftdb/weft/cmd/weft/internal/tty"
	"github.com/weftdb/weft/cmd/weft/internal/words"
)

// A peerStatus says how a database stands with one peer.
type peerStatus struct {
	Peer   string  `json:"peer"`
	Role   string  `json:"role"`
	State  string  `json:"state"`
	Behind uint64  `json:"behind"`
	Ahead  uint64  `json:"ahead"`
	Code   string  `json:"code,omitempty"`
	Reason string  `json:"reason"`
	Since  *string `json:"since"`
}

// A Status says how a database compares with its peers.
type Status struct {
	ID      string       `json:"id"`
	Hash    string       `json:"hash"`
	Peers   []peerStatus `json:"peers"`
	Waiting int64        `json:"waiting"`          // other devices that wait to be admitted
	Self    *join        `json:"self,omitempty"`   // this device, if it waits
	Frozen  bool         `json:"frozen,omitempty"` // nobody's rights change any more

	Kept      *string `json:"kept_until,omitempty"` // records that are cut off are kept until then
	Objection string  `json:"objection,omitempty"`  // why they are kept for longer

	Name string `json:"-"` // of the database
}

// StatusOf reads the status of the database with a name.
func StatusOf(name string, m *weftv1.DatabaseStatusResponse) Status {
	out := Status{ID: m.GetId(), Hash: hex.EncodeToString(m.GetHash()), Peers: []peerStatus{}, Waiting: m.GetWaiting(), Frozen: m.GetFrozen(), Name: name, Kept: words.Until(m.GetKeptUntil()), Objection: m.GetObjection()}
	if w := m.GetSelf(); w != nil {
		self := joinOf(w)
		out.Self = &self
	}
	for _, p := range m.GetPeers() {
		out.Peers = append(out.Peers, peerStatus{
			p.GetPeer(), p.GetRole(), p.GetState(), p.GetBehind(), p.GetAhead(), p.GetCode(), p.GetReason(), words.When(p.GetSince()),
		})
	}
	return out
}

// All reports whether every relay, and every member that is connected, is in a
// state, and there is one. What a relay that others use says of us is their business.
func (s Status) All(state string) bool {
	found := false
	for _, p := range s.Peers {
		if p.Role == "member" && p.State == "unreachable" || p.Role == "peer" {
			continue
		}
		if p.State != state {
			return false
		}
		found = true
	}
	return found
}

// String tells the states in one line.
func (s Status) String() string {
	if len(s.Peers) == 0 {
		return "no peers"
	}
	var parts []string
	for _, p := range s.Peers {
		part := p.Role + " " + p.Peer + " " + p.State
		if p.Behind > 0 || p.Ahead > 0 {
			part += fmt.Sprintf(" (%d behind, %d ahead)", p.Behind, p.Ahead)
		}
		if p.Reason != "" {
			part += ": " + tty.Printable(p.Reason)
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, "; ")
}

// PrintKept tells until when, or why, records that are cut off are kept.
func PrintKept(w io.Writer, until *string, objection string) {
	switch {
	case objection != "":
		fmt.Fprintf(w, "History that was cut off is not deleted: %s. Cut it again with weft db compact, or remove that device.\n", tty.Printable(objection))
	case until != nil:
		fmt.Fprintf(w, "History that was cut off is kept until %s, or until a second device of an owner or admin vouches for the cut.\n", words.Short(until))
	}
}

// Write tells of each peer, and of who waits.
func (s Status) Write(w io.Writer) {
	fmt.Fprintf(w, "state hash %s\n", s.Hash)
	s.printWaiting(w)
	PrintKept(w, s.Kept, s.Objection)
	if len(s.Peers) == 0 {
		fmt.Fprintln(w, "no peers: add a relay with weft relay add, or a device with weft db invite")
		return
	}
	rows := [][]string{{"PEER", "ROLE", "STATE", "BEHIND", "AHEAD", "SINCE", "REASON"}}
	for _, p := range s.Peers {
		rows = append(rows, []string{p.Peer, p.Role, p.State, fmt.Sprint(p.Behind), fmt.Sprint(p.Ahead), words.Short(p.Since), p.Reason})
	}
	words.Table(w, rows...)
}

// printWaiting says who waits to be admitted, and who can help.
func (s Status) printWaiting(w io.Writer) {
	if s.Frozen {
		fmt.Fprintf(w, "NOBODY'S RIGHTS CHANGE ANY MORE, as the recovery key was used twice: weft db members %s\n", s.Name)
	}
	if s.Self != nil {
		fmt.Fprintf(w, "this device waits to be admitted, as %s: ask an owner or admin to run weft db admit DB %s\n", s.Self.why(), s.Self.Peer)
	}
	if s.Waiting > 0 {
		fmt.Fprintf(w, "%s to be admitted: weft db members %s, weft db admit %[2]s JOIN\n", devicesWait(s.Waiting), s.Name)
	}
}
