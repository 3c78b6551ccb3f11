package node

import (
	"fmt"
	"time"

	"github.com/weftdb/weft/net"
)

// How a database came to be served with less than what was written.
const (
	lossNone    = iota // what was lost has come back
	lossGivenUp        // somebody took it as it was
	lossGone           // a repair found the rest nowhere
	lossMaybe          // a repair could not tell whether its last records are there
)

// lossListed is how long lists of databases show a loss. A check shows it as long as
// the note has it.
const lossListed = 30 * 24 * time.Hour

// A lossNote is what of a database was not there when it was served again.
type lossNote struct {
	_       struct{} `cbor:",toarray"`
	Thread  net.ThreadID
	When    uint64 // seconds since 1970
	How     uint64
	Records uint64     // of this device that were noted and are not here
	Heads   []headNote // of these; when all are held again the loss is forgotten
}

func (l *lossNote) String() string {
	if l == nil {
		return ""
	}
	day := time.Unix(int64(l.When), 0).UTC().Format(time.DateOnly)
	switch l.How {
	case lossGivenUp:
		return fmt.Sprintf("taken as it was on %s, %s given up", day, records(l.Records))
	case lossGone:
		return fmt.Sprintf("repaired on %s, %s lost", day, records(l.Records))
	}
	return fmt.Sprintf("repaired on %s, may have lost its last records", day)
}

func records(n uint64) string {
	if n == 1 {
		return "1 record"
	}
	return fmt.Sprintf("%d records", n)
}

// A shortfall is how much of what was noted of this device's logs is not held.
type shortfall struct {
	noted, gone uint64     // records
	heads       []headNote // noted and not held
}

func shortfallOf(t *net.Thread, heads []headNote) (s shortfall) {
	held := t.Heads()
	for _, h := range heads {
		s.noted += h.Seq
		if shortOf(t, []headNote{h}) == nil {
			continue
		}
		s.gone += h.Seq - min(held[h.Log], h.Seq-1) // another record at its place is not it
		s.heads = append(s.heads, h)
	}
	return s
}

// noteLoss notes what of a database is served without; what is not back of an earlier
// loss is added.
func (n *Node) noteLoss(d *database, how uint64, s shortfall) error {
	id := d.thread.ID()
	l := lossNote{Thread: id, When: uint64(time.Now().Unix()), How: how, Records: s.gone, Heads: s.heads}
	if noted, _ := n.note.get(id); noted.loss != nil {
		was := shortfallOf(d.thread, noted.loss.Heads)
		if l.Records += was.gone; how == lossMaybe && was.gone > 0 {
			l.How = noted.loss.How // what is known says more
		}
		l.Heads = append(was.heads, l.Heads...)
		l.Heads = l.Heads[:min(len(l.Heads), maxHeads)]
	}
	return n.note.add(notedLoss, l)
}

// forgetLoss forgets a loss of which everything has come back.
func (n *Node) forgetLoss(d *database) error {
	noted, _ := n.note.get(d.thread.ID())
	if noted.loss == nil || len(noted.loss.Heads) == 0 || shortOf(d.thread, noted.loss.Heads) != nil {
		return nil
	}
	return n.note.add(notedLoss, lossNote{Thread: d.thread.ID()})
}

// lossOf returns what of a database is known to be lost, nil if nothing is.
func (n *Node) lossOf(d *database) *lossNote {
	noted, _ := n.note.get(d.thread.ID())
	return noted.loss
}

// listed returns a loss that lists show, else "".
func (l *lossNote) listed() string {
	if l == nil || time.Since(time.Unix(int64(l.When), 0)) > lossListed {
		return ""
	}
	return l.String()
}
