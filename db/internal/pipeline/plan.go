package pipeline

import (
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/query"
	"github.com/weftdb/weft/db/internal/value"
)

// plan orders the parts, moves leading $match, $sort, $skip and $limit into the query and
// joins $sort with the $limit that follows it. A $sort that is joined holds skip+limit
// documents only. The $skip and $limit behind it stay where they are: they still count what
// comes.
func (c *compiler) plan(parts []part) (*Pipeline, error) {
	p := &Pipeline{}
	if n := len(parts); n > 0 {
		if last, ok := parts[n-1].stage.(*intoStage); ok {
			p.into, parts = &last.Into, parts[:n-1]
		}
	}
	if len(parts) > 0 && parts[0].op == "$documents" {
		p.own = true
	}
	parts = moveMatches(parts)
	if !p.own && !c.facet {
		parts = intoQuery(&p.query, parts)
	}
	for i := 0; i < len(parts); i++ {
		s := parts[i].stage
		if sort, ok := s.(*sortStage); ok {
			skip, limit := int64(0), int64(0)
			j := i + 1
			if j < len(parts) && parts[j].op == "$skip" {
				skip = int64(parts[j].stage.(*limitStage).n)
				j++
			}
			if j < len(parts) && parts[j].op == "$limit" {
				limit = int64(parts[j].stage.(*limitStage).n)
			}
			if limit > 0 && skip <= 1<<40 && limit <= 1<<40 {
				s = &sortStage{sort: sort.sort, most: int(skip + limit)}
			}
		}
		p.specs = append(p.specs, parts[i].spec)
		if several, ok := s.(chain); ok {
			p.stages = append(p.stages, several...)
		} else {
			p.stages = append(p.stages, s)
		}
	}
	return p, nil
}

// moveMatches moves each $match before stages that neither make nor drop the
// fields that it reads. Fields are compared by their first component, since a
// stage that sets a.b may turn what a is.
//
//	[{$set: {n: "$a"}}, {$sort: {n: 1}}, {$match: {b: 1}}]     the $match comes first: an index may answer it
//	[{$set: {"b.c": 1}}, {$match: {b: 1}}]                     stays
//	[{$limit: 5}, {$match: {b: 1}}]                            stays: the five would be others
func moveMatches(parts []part) []part {
	for i := 1; i < len(parts); i++ {
		if parts[i].op != "$match" {
			continue
		}
		reads, ok := matchFields(parts[i])
		if !ok {
			continue
		}
		for j := i; j > 0 && parts[j-1].leaves(reads); j-- {
			parts[j-1], parts[j] = parts[j], parts[j-1]
		}
	}
	return parts
}

// matchFields lists the first components of the fields that a $match reads; ok is false if
// it reads more than fields of the documents that the stages make. _mod is such a thing: it
// is no field of the document but known to whoever stores it.
func matchFields(p part) (fields []string, ok bool) {
	m, ok := p.stage.(matchStage)
	if !ok {
		return nil, false
	}
	fields, whole := m.filter.Tree().Fields()
	return fields, !whole && !slices.Contains(fields, "_mod")
}

// first returns the first component of a dotted path.
func first(path string) string {
	name, _, _ := strings.Cut(path, ".")
	return name
}

// leaves reports whether the stage leaves the fields, and which documents there are, as
// they were. A stage that is not named here does not: it changes how many documents there
// are ($unwind, $limit), or makes them anew ($group, $replaceRoot).
func (p part) leaves(fields []string) bool {
	has := func(name string) bool {
		for _, f := range fields {
			if f == name {
				return true
			}
		}
		return false
	}
	switch p.op {
	case "$sort":
		return true
	case "$addFields", "$set":
		it := value.Elements(p.arg.Data)
		for k, _, ok := it.Next(); ok; k, _, ok = it.Next() {
			if has(first(string(k))) {
				return false
			}
		}
		return true
	case "$unset":
		if !p.arg.IsArray() {
			return !has(first(string(p.arg.Str())))
		}
		it := value.Elements(p.arg.Data)
		for _, v, ok := it.Next(); ok; _, v, ok = it.Next() {
			if has(first(string(v.Str()))) {
				return false
			}
		}
		return true
	case "$project":
		return p.keeps(fields)
	}
	return false
}

// keeps reports whether a $project keeps the fields whole: each is included as
// such, or none is named by an exclusion.
//
//	{a: 1, b: "$c"}     includes a and _id; b is computed, so a $match on b stays behind it
//	{a: 0, "b.c": 0}    excludes a and a part of b; all others are kept
func (p part) keeps(fields []string) bool {
	included := map[string]bool{"_id": true}
	named := map[string]bool{}
	excludes := true
	it := value.Elements(p.arg.Data)
	for k, v, ok := it.Next(); ok; k, v, ok = it.Next() {
		key := string(k)
		plain := v.Type == bson.TypeBoolean || v.IsNumber()
		on := plain && value.Compare(v, value.Int32(0)) != 0 && (v.Type != bson.TypeBoolean || v.Bool())
		named[first(key)] = true
		if key != "_id" && (!plain || on) {
			excludes = false
		}
		included[key] = on && plain
	}
	for _, f := range fields {
		if excludes && named[f] || !excludes && !included[f] {
			return false
		}
	}
	return true
}

// intoQuery moves leading parts into the query and returns the others. A filter with variables,
// or that only this machine can answer, stays a stage. The order is that of Query, and what
// follows something that stays does, too. $match, $sort, $skip and $limit are each taken
// once, but several $match become an $and, unless that is too large for a filter. Numbers
// from 2^40 on are left to the stages, so that skip + limit cannot overflow.
func intoQuery(q *Query, parts []part) []part {
	all, filters := parts, []bson.Raw(nil)
	for len(parts) > 0 && parts[0].op == "$match" {
		if _, text := parts[0].stage.(textStage); !text {
			if _, err := query.Compile(parts[0].arg.Data); err != nil {
				break // by itself, without the variables of the pipeline, it means nothing
			}
		}
		filters = append(filters, parts[0].arg.Data)
		parts = parts[1:]
	}
	switch len(filters) {
	case 0:
	case 1:
		q.Filter = filters[0]
	default:
		and := value.Value{Type: bson.TypeArray, Data: arrayOf(filters)}
		doc, start := value.Begin(nil)
		q.Filter = value.End(value.AppendElement(doc, []byte("$and"), and), start)
		if len(q.Filter) > value.MaxDocument {
			q.Filter = filters[0]
			return all[1:]
		}
	}
	if len(parts) > 0 && parts[0].op == "$sort" {
		q.Sort = parts[0].arg.Data
		parts = parts[1:]
	}
	if len(parts) > 0 && parts[0].op == "$skip" {
		q.Skip = parts[0].stage.(*limitStage).n
		parts = parts[1:]
	}
	if len(parts) > 0 && parts[0].op == "$limit" {
		if n := parts[0].stage.(*limitStage).n; n < 1<<40 && q.Skip < 1<<40 {
			q.Limit = n
			parts = parts[1:]
		}
	}
	return parts
}

func arrayOf(docs []bson.Raw) []byte {
	b := newArray()
	for _, d := range docs {
		b.add(value.Doc(d))
	}
	return b.end()
}
