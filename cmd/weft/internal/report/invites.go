package report

import (
	"fmt"
	"io"

	weftv1 "github.com/weftdb/weft/node/api/weft/v1"

	"github.com/weftdb/weft/cmd/weft/internal/words"
)

// Invites are those to a database.
type Invites []invite

// InvitesOf reads invites.
func InvitesOf(m *weftv1.InvitesResponse) Invites {
	out := Invites{}
	for _, i := range m.GetInvites() {
		out = append(out, invite{i.GetId(), i.GetRole(), i.GetUses(), i.GetUsed(), words.When(i.GetExpires()), i.GetState(), i.GetCreator()})
	}
	return out
}

// Write tells of them in a table.
func (all Invites) Write(w io.Writer) {
	rows := [][]string{{"ID", "ROLE", "USES", "EXPIRES", "STATE", "MADE BY"}}
	for _, i := range all {
		expires := "never"
		if i.Expires != nil {
			expires = words.Short(i.Expires)
		}
		rows = append(rows, []string{i.ID, i.Role, i.uses(), expires, i.State, i.Creator})
	}
	words.Table(w, rows...)
}

// An invite is what is known of an invite.
type invite struct {
	ID      string  `json:"id"`
	Role    string  `json:"role"`
	Uses    uint64  `json:"uses"` // 0: any number
	Used    uint64  `json:"used"`
	Expires *string `json:"expires"` // null: never
	State   string  `json:"state"`
	Creator string  `json:"creator"`
}

// uses tells how often an invite was used, and how often it may be.
func (i *invite) uses() string {
	if i.Uses == 0 {
		return fmt.Sprintf("%d of any number", i.Used)
	}
	return fmt.Sprintf("%d of %d", i.Used, i.Uses)
}
