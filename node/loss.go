package node

import (
	"time"

	"github.com/weftdb/weft/node/internal/homenote"
	"github.com/weftdb/weft/node/internal/shortfall"
)

// noteLoss notes what of a database is served without; what is not back of an earlier loss
// is added. Losses of one database are one entry, with the heads of at most as many logs as
// a note keeps.
func (n *Node) noteLoss(d *database, how uint64, s shortfall.Shortfall) error {
	id := d.thread.ID()
	l := homenote.Loss{Thread: id, When: uint64(time.Now().Unix()), How: how, Records: s.Gone, Heads: s.Heads}
	if noted, _ := n.note.Get(id); noted.Loss != nil {
		was := shortfall.Of(d.thread, noted.Loss.Heads)
		if l.Records += was.Gone; how == homenote.Maybe && was.Gone > 0 {
			l.How = noted.Loss.How // what is known says more
		}
		l.Heads = append(was.Heads, l.Heads...)
		l.Heads = l.Heads[:min(len(l.Heads), homenote.MaxHeads)]
	}
	return n.note.Lose(l)
}

// forgetLoss forgets a loss of which everything has come back.
func (n *Node) forgetLoss(d *database) error {
	noted, _ := n.note.Get(d.thread.ID())
	if noted.Loss == nil || len(noted.Loss.Heads) == 0 || shortfall.Short(d.thread, noted.Loss.Heads) != nil {
		return nil
	}
	return n.note.Lose(homenote.Loss{Thread: d.thread.ID()})
}

// lossOf returns what of a database is known to be lost, nil if nothing is.
func (n *Node) lossOf(d *database) *homenote.Loss {
	noted, _ := n.note.Get(d.thread.ID())
	return noted.Loss
}
