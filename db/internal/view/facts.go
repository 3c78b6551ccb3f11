package view

import (
	"github.com/weftdb/weft/db/internal/judge"
	"github.com/weftdb/weft/internal/clock"
)

// Facts are what a database knows of itself at one moment.
type Facts struct {
	Arrival     int64
	Hash        clock.Hash
	Documents   int64
	Collections int
	Refused     int64
	Conflicts   int64
	Building    int
	Refolds     int64 // since it was opened; a view does not know
}

// Facts counts by the stats, without reading a document.
func (v *View) Facts() Facts {
	i := Facts{Arrival: v.N, Hash: v.StateHash(), Refused: v.Refused}
	for name, c := range v.Cat.Colls {
		if name == judge.SystemCollection {
			i.Collections = int(v.Stats[c.Num].Docs)
		} else {
			i.Documents += v.Stats[c.Num].Docs
		}
		for _, x := range c.Indexes {
			if x.Shadow || !x.Filled {
				i.Building++
			} else {
				i.Conflicts += v.Stats[x.Num].Docs
			}
		}
	}
	return i
}
