package schema

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/weftdb/weft/db/internal/value"
)

// objects tests by the keywords for objects. One pass over the document tests each
// property and notes which names there are; what is asked of the object as a whole
// (required, counts, dependencies) follows.
func (r *run) objects(n *node, v value.Value, s seen) bool {
	count, missing := 0, len(n.want)
	var present []bool // required properties
	if missing > 0 {
		present = make([]bool, missing)
	}
	var deps []bool
	if len(n.deps) > 0 {
		deps = make([]bool, len(n.deps))
	}
	it := value.Elements(v.Data)
	for k, e, ok := it.Next(); ok; k, e, ok = it.Next() {
		if i, ok := n.needs[string(k)]; ok && !present[i] {
			present[i] = true
			missing--
		}
		for i := range n.deps {
			deps[i] = deps[i] || n.deps[i].name == string(k)
		}
		if !r.spend(len(n.deps)/16) || !r.property(n, k, e, s, count) {
			return false
		}
		count++
	}
	if missing > 0 {
		return r.lacks(n.want, present, missing)
	}
	if !r.within(n.counts, count, "minProperties", "maxProperties") {
		return false
	}
	for i := range n.deps {
		if deps[i] && !r.depends(&n.deps[i], v, s) {
			return false
		}
	}
	return true
}

// lacks refuses an object for the first field that it should have, and names a few of all.
func (r *run) lacks(want []string, present []bool, missing int) bool {
	const few = 5
	var lacking []string
	for i, name := range want {
		if !present[i] && len(lacking) < few {
			lacking = append(lacking, strconv.Quote(name))
		}
	}
	more := ""
	if missing > few {
		more = fmt.Sprintf(" and %d more", missing-few)
	}
	return r.no("required", "missing required field %s (the object lacks %s%s)", lacking[0], strings.Join(lacking, ", "), more)
}

// property tests one property, the i-th. additionalProperties is for those that neither
// properties nor a pattern names. The schema of names is asked quietly: the misfit is told
// of the object.
func (r *run) property(n *node, k []byte, e value.Value, s seen, i int) bool {
	evaluated := false
	if p := n.props[string(k)]; p != nil {
		evaluated = true
		if !r.child(p, string(k), e) {
			return false
		}
	}
	for _, g := range n.globs {
		if r.match(g.pattern, k) {
			evaluated = true
			if !r.child(g.n, string(k), e) {
				return false
			}
		}
	}
	if !evaluated && n.more != nil {
		if n.more.never {
			return r.no("additionalProperties", "field %q is not allowed", k)
		}
		evaluated = true
		if !r.child(n.more, string(k), e) {
			return false
		}
	}
	if evaluated && s != nil {
		s[i] = true
	}
	if n.names != nil && !r.quietly(n.names, value.String(string(k)), nil) {
		return r.no("propertyNames", "the field name %q is not allowed", k)
	}
	return r.err == nil
}

// depends tests what the presence of d's property asks of the object.
func (r *run) depends(d *dependency, v value.Value, s seen) bool {
	for _, name := range d.required {
		if !r.spend(1+len(v.Data)/256) || !value.Get(v.Data, name).Exists() {
			return r.no(d.keyword, "field %q requires field %q", d.name, name)
		}
	}
	return d.n == nil || r.same(d.n, v, s, false)
}

// arrays tests by the keywords for arrays. Whether items are equal is decided by their
// canonical forms in a set, which keeps uniqueItems linear.
func (r *run) arrays(n *node, v value.Value, s seen) bool {
	count, hits := 0, 0
	var items map[string]struct{}
	if n.unique {
		items = map[string]struct{}{}
	}
	it := value.Elements(v.Data)
	for _, e, ok := it.Next(); ok; _, e, ok = it.Next() {
		sub := n.items
		if count < len(n.prefix) {
			sub = n.prefix[count]
		}
		if sub != nil {
			if !r.child(sub, strconv.Itoa(count), e) {
				return false
			}
			if s != nil {
				s[count] = true
			}
		}
		if n.contains != nil && r.quietly(n.contains, e, nil) {
			hits++
			if s != nil && n.countsItems {
				s[count] = true
			}
		}
		if n.unique {
			if !r.spend(1 + len(e.Data)/32) {
				return false
			}
			c := string(appendCanonical(nil, e))
			if _, twice := items[c]; twice {
				return r.no("uniqueItems", "item %d is a duplicate", count)
			}
			items[c] = struct{}{}
		}
		count++
	}
	if !r.within(n.lengths, count, "minItems", "maxItems") {
		return false
	}
	return n.contains == nil || r.within(n.containCount, hits, "contains", "maxContains")
}
