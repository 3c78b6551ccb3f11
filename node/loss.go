package node

import (
	"fmt"
	"time"

	"github.com/weftdb/weft/net"
	"github.com/weftdb/weft/node/internal/homenote"
)

// A shortfall is how much of what was noted of this device's logs is not held.
type shortfall struct {
	noted, gone uint64          // records
	heads       []homenote.Head // noted and not held
	said        []string        // a clause for each of them
}

// shortfallOf compares what was noted of this device's logs with what the thread holds. Of
// a log whose noted record is not there at least that one counts as gone.
func shortfallOf(t *net.Thread, heads []homenote.Head) (s shortfall) {
	held := t.Heads()
	for _, h := range heads {
		s.noted += h.Seq
		if shortOf(t, []homenote.Head{h}) == nil {
			continue
		}
		s.gone += h.Seq - min(held[h.Log], h.Seq-1) // another record at its place is not it
		s.heads = append(s.heads, h)
		s.said = append(s.said, fmt.Sprintf("records %d to %d of log %s, which this device wrote", held[h.Log]+1, h.Seq, h.Log.Short()))
	}
	return s
}

// noteLoss notes what of a database is served without; what is not back of an earlier loss
// is added. Losses of one database are one entry, with the heads of at most as many logs as
// a note keeps.
func (n *Node) noteLoss(d *database, how uint64, s shortfall) error {
	id := d.thread.ID()
	l := homenote.Loss{Thread: id, When: uint64(time.Now().Unix()), How: how, Records: s.gone, Heads: s.heads}
	if noted, _ := n.note.Get(id); noted.Loss != nil {
		was := shortfallOf(d.thread, noted.Loss.Heads)
		if l.Records += was.gone; how == homenote.Maybe && was.gone > 0 {
			l.How = noted.Loss.How // what is known says more
		}
		l.Heads = append(was.heads, l.Heads...)
		l.Heads = l.Heads[:min(len(l.Heads), homenote.MaxHeads)]
	}
	return n.note.Lose(l)
}

// forgetLoss forgets a loss of which everything has come back.
func (n *Node) forgetLoss(d *database) error {
	noted, _ := n.note.Get(d.thread.ID())
	if noted.Loss == nil || len(noted.Loss.Heads) == 0 || shortOf(d.thread, noted.Loss.Heads) != nil {
		return nil
	}
	return n.note.Lose(homenote.Loss{Thread: d.thread.ID()})
}

// lossOf returns what of a database is known to be lost, nil if nothing is.
func (n *Node) lossOf(d *database) *homenote.Loss {
	noted, _ := n.note.Get(d.thread.ID())
	return noted.Loss
}
