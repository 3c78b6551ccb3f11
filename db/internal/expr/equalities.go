package expr

// An Equality says that a field of the document equals a value that does not depend on the
// document.
type Equality struct {
	Path string // dotted
	Arg  *Expr  // a variable, or a path in one
}

// Equalities returns what has to hold of the document for e to be true, as far as e is the
// equality of a field and a variable, or an $and of such:
//
//	{$and: [{$eq: ["$a", "$$x"]}, {$gt: ["$b", 1]}]}     a equals $$x
func (e *Expr) Equalities() (out []Equality) {
	var walk func(n node)
	walk = func(n node) {
		switch n := n.(type) {
		case *logic:
			for _, x := range n.args {
				if !n.stop { // $and
					walk(x)
				}
			}
		case *call:
			if n.op != "$eq" {
				return
			}
			a, isPath := n.args[0].(*fieldPath)
			b, both := n.args[1].(*fieldPath)
			if !isPath || !both {
				return
			}
			if b.slot == slotCurrent {
				a, b = b, a
			}
			if a.slot == slotCurrent && len(a.path) > 0 && (b.slot >= 0 || b.slot == slotNow) {
				out = append(out, Equality{a.path.String(), &Expr{root: b, nslots: e.nslots}})
			}
		}
	}
	walk(e.root)
	return out
}
