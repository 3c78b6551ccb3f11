package db

import (
	"context"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/value"
)

// Explain says how a query is run, in the form of MongoDB's explain: the plan
// that wins and those that lost, with bounds, and the estimates that decided
// (keys and documents looked at; cost, where 1 is a document scanned). With run
// set the query is run, too, and what it looked at is in executionStats.
func (c *Collection) Explain(ctx context.Context, o FindOptions, run bool) (bson.Raw, error) {
	d, err := c.explain(ctx, o, false, run)
	if err != nil {
		return nil, err
	}
	return bson.Marshal(d)
}

func (c *Collection) explain(ctx context.Context, o FindOptions, count, run bool) (bson.D, error) {
	v, err := c.db.acquire()
	if err != nil {
		return nil, err
	}
	s, err := c.db.searchFor(ctx, v, c.name, o, count)
	if err != nil {
		v.release()
		return nil, err
	}
	e := explainer{s: s, count: count}
	rejected := bson.A{}
	for _, a := range s.found {
		if a != s.access {
			rejected = append(rejected, e.plan(a))
		}
	}
	out := bson.D{{Key: "queryPlanner", Value: bson.D{
		{Key: "namespace", Value: c.db.namespace(c.name)},
		{Key: "parsedQuery", Value: orEmpty(o.Filter)},
		{Key: "winningPlan", Value: e.plan(s.access)},
		{Key: "rejectedPlans", Value: rejected},
	}}}
	if !run {
		s.close()
		v.release()
		return out, nil
	}
	stats, err := s.stats(ctx, count)
	return append(out, bson.E{Key: "executionStats", Value: stats}), err
}

// stats runs the search, and releases its view.
func (s *search) stats(ctx context.Context, count bool) (bson.D, error) {
	began, n := time.Now(), int64(0)
	var err error
	if count {
		s.ctx = ctx
		n, err = s.count()
		n = max(0, n-s.o.Skip)
		s.close()
		s.v.release()
	} else {
		var cur *Cursor
		if cur, err = s.cursor(ctx); err != nil {
			return nil, err
		}
		for cur.Next() {
			n++
		}
		err = cur.Err()
		cur.Close()
	}
	return bson.D{
		{Key: "executionSuccess", Value: err == nil},
		{Key: "nReturned", Value: n},
		{Key: "executionTimeMillis", Value: time.Since(began).Milliseconds()},
		{Key: "totalKeysExamined", Value: s.keysExamined.Load()},
		{Key: "totalDocsExamined", Value: s.docsExamined.Load()},
	}, err
}

// An explainer writes the stages of plans.
type explainer struct {
	s     *search
	count bool
}

func stage(name string, fields ...bson.E) bson.D {
	return append(bson.D{{Key: "stage", Value: name}}, fields...)
}

func input(d bson.D) bson.E { return bson.E{Key: "inputStage", Value: d} }

// plan returns the stages of a, the last first.
func (e *explainer) plan(a *access) bson.D {
	if a == nil {
		return stage("EOF")
	}
	if a.cost == 0 && e.s.text == nil {
		e.estimate(a)
	}
	d := e.read(a)
	o := &e.s.o
	if sort := e.s.sort; sort != nil && !a.order.whole && !e.count {
		fields := []bson.E{{Key: "sortPattern", Value: o.Sort}, {Key: "memLimit", Value: int64(maxSort)}}
		if n := a.order.fields; n > 0 { // within groups only
			pre := bson.A{}
			for _, f := range sort.Fields()[:n] {
				pre = append(pre, f.Path)
			}
			fields = append(fields, bson.E{Key: "sortedBy", Value: pre})
		}
		if o.Limit > 0 {
			fields = append(fields, bson.E{Key: "limitAmount", Value: o.want()})
		}
		d = stage("SORT", append(fields, input(d))...)
	}
	if o.Skip > 0 && !e.count {
		d = stage("SKIP", bson.E{Key: "skipAmount", Value: o.Skip}, input(d))
	}
	if o.Limit > 0 && !e.count {
		d = stage("LIMIT", bson.E{Key: "limitAmount", Value: o.Limit}, input(d))
	}
	if e.s.proj != nil {
		d = stage("PROJECTION_DEFAULT", bson.E{Key: "transformBy", Value: o.Projection}, input(d))
	}
	if e.count {
		d = stage("COUNT", input(d))
	}
	return append(d, bson.E{Key: "estimate", Value: bson.D{
		{Key: "keys", Value: int64(a.keys)}, {Key: "docs", Value: int64(a.docs)}, {Key: "cost", Value: a.cost},
	}})
}

// estimate fills in what choosing did not need.
func (e *explainer) estimate(a *access) {
	p := &planner{db: e.s.db, v: e.s.v, c: e.s.c, filter: e.s.filter, count: e.count, found: []*access{a}}
	p.total = float64(p.v.stats[p.c.num].docs)
	if e.s.sort != nil {
		p.sort = e.s.sort.Fields()
	}
	p.want = e.s.o.want()
	a.keys, a.docs = 0, 0
	p.choose()
}

// read returns the stages that give the documents.
func (e *explainer) read(a *access) bson.D {
	filter := bson.E{Key: "filter", Value: orEmpty(e.s.o.Filter)}
	direction := bson.E{Key: "direction", Value: "forward"}
	if a.reverse {
		direction.Value = "backward"
	}
	switch {
	case e.s.text != nil:
		return stage("TEXT_MATCH", filter, bson.E{Key: "indexName", Value: a.index.Name})
	case a.parts != nil:
		parts := bson.A{}
		for _, p := range a.parts {
			parts = append(parts, e.keys(p))
		}
		return stage("FETCH", filter, input(stage("OR", bson.E{Key: "inputStages", Value: parts})))
	case a.index == nil && len(a.ids) == 1:
		return stage("IDHACK", filter)
	case a.index == nil && a.ids == nil && a.bounds[0].known():
		return stage("CLUSTERED_IXSCAN", filter, direction, e.bounds(a))
	case a.index == nil && a.ids == nil:
		return stage("COLLSCAN", filter, direction)
	case e.count && a.exact:
		return e.keys(a)
	}
	return stage("FETCH", filter, input(e.keys(a)))
}

// keys returns the stages that give the _ids.
func (e *explainer) keys(a *access) bson.D {
	if a.index == nil {
		return stage("IXSCAN", bson.E{Key: "keyPattern", Value: bson.D{{Key: "_id", Value: int32(1)}}},
			bson.E{Key: "indexName", Value: "_id_"}, e.bounds(a))
	}
	x, pattern := a.index, bson.D{}
	for _, k := range x.Keys {
		dir := int32(1)
		if k.Desc {
			dir = -1
		}
		pattern = append(pattern, bson.E{Key: k.Path, Value: dir})
	}
	direction := "forward"
	if a.reverse {
		direction = "backward"
	}
	name := "IXSCAN"
	if e.count && a.exact {
		name = "COUNT_SCAN"
	}
	d := stage(name, bson.E{Key: "keyPattern", Value: pattern}, bson.E{Key: "indexName", Value: x.Name},
		bson.E{Key: "isMultiKey", Value: x.multi.Load()}, bson.E{Key: "isUnique", Value: x.Unique}, bson.E{Key: "isSparse", Value: x.Sparse},
		bson.E{Key: "isPartial", Value: x.Partial != nil}, bson.E{Key: "direction", Value: direction}, e.bounds(a))
	if n := len(a.streams); n > 1 {
		d = stage("SORT_MERGE", bson.E{Key: "sortPattern", Value: e.s.o.Sort}, bson.E{Key: "inputs", Value: int32(n)}, input(d))
	}
	return d
}

// bounds writes the intervals of each field, in the order of the keys.
func (e *explainer) bounds(a *access) bson.E {
	keys := []IndexKey{{Path: "_id"}}
	if a.index != nil {
		keys = a.index.Keys
	}
	d := bson.D{}
	for i, k := range keys {
		out := bson.A{}
		for j := range a.bounds[i].in {
			out = append(out, a.bounds[i].in[j].text(k.Desc))
		}
		if !a.bounds[i].known() {
			in := interval{from: edge{v: value.Value{Type: bson.TypeMinKey}}, to: edge{v: value.Value{Type: bson.TypeMaxKey}}}
			if k.Desc {
				in.from, in.to = in.to, in.from
			}
			out = append(out, in.text(k.Desc))
		}
		d = append(d, bson.E{Key: k.Path, Value: out})
	}
	return bson.E{Key: "indexBounds", Value: d}
}

// text returns the interval as "[1, 5)".
func (i *interval) text(desc bool) string {
	ends := [2]edge{i.from, i.to}
	words := [2]string{}
	for n, e := range ends {
		if e.v.Exists() {
			words[n] = string(value.AppendJSONValue(nil, e.v, false))
			continue
		}
		other := ends[1-n].v
		words[n] = limit(other, (n == 0) != desc)
	}
	open, shut := "[", "]"
	if i.from.open {
		open = "("
	}
	if i.to.open {
		shut = ")"
	}
	return open + words[0] + ", " + words[1] + shut
}

// limit names the end of the values of v's type.
func limit(v value.Value, least bool) string {
	switch {
	case v.IsNumber() && least:
		return "-Infinity"
	case v.IsNumber():
		return "Infinity"
	case v.Type == bson.TypeString && least:
		return `""`
	case v.Type == bson.TypeString:
		return "{}"
	case least:
		return "least"
	}
	return "greatest"
}
