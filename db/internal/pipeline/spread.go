package pipeline

import (
	"bytes"
	"slices"

	"github.com/weftdb/weft/db/internal/expr"
)

// A Spreader is a Source that can read a collection with several goroutines. drain asks for
// all sinks before it gives the first document, so that sink needs no lock.
type Spreader interface {
	// Spread returns nil if the query is better read in order. Else drain gives
	// each document, and the key of its place in order, to one of the sinks,
	// which work at the same time; within one sink they come in order.
	Spread(collection string, q Query) (drain func(sink func() Sink) error, closing func(), err error)
}

// A Sink takes a document, which is valid until it returns.
type Sink func(key, doc []byte) error

// A slot is the input of stages that get one document at a time. At its end, which is after
// each document, its nil means "no more for now": stages that work on one document at a
// time go on when they are asked again.
type slot struct{ doc []byte }

func (s *slot) Next() ([]byte, error) {
	doc := s.doc
	s.doc = nil
	return doc, nil
}

func (s *slot) Close() {}

// spread opens a pipeline whose first stages work on one document each and are
// followed by a $group of what can be joined: several goroutines group a part of
// the documents each. nil if it is not one.
//
// The groups come in the order in which one goroutine would meet them: each keeps
// the place of its first document, by which join sorts. Of accumulators only
// $sum, $avg, $count, $min and $max can be joined; others, such as $push, depend
// on the order of all documents, and a pipeline with one is read in order.
func (p *Pipeline) spread(r *run, collection string) (Cursor, error) {
	src, ok := r.src.(Spreader)
	if !ok || p.own || len(p.query.Sort) > 5 || p.query.Skip > 0 || p.query.Limit > 0 {
		return nil, nil
	}
	at := slices.IndexFunc(p.stages, func(s stage) bool { return !single(s) })
	if at < 0 {
		return nil, nil
	}
	g, ok := p.stages[at].(*groupStage)
	if !ok || slices.ContainsFunc(g.outputs, func(o output) bool { return !o.joins }) {
		return nil, nil
	}
	drain, closing, err := src.Spread(collection, p.query)
	if drain == nil || err != nil {
		return nil, err
	}
	all := g.groups(r)
	c := &grouping{Cursor: ending{closing}, g: all, fill: func() error {
		var parts []*groups
		var failed error
		err := drain(func() Sink {
			part := g.groups(r)
			parts = append(parts, part)
			in := &slot{}
			chain, err := (&Pipeline{stages: p.stages[:at]}).over(r, in)
			if err != nil {
				failed = err
			}
			return func(key, doc []byte) error {
				if failed != nil {
					return failed
				}
				in.doc = doc
				for part.nth = 0; ; part.nth++ {
					doc, err := chain.Next()
					if doc == nil || err != nil {
						return err
					}
					if err := part.add(doc, key); err != nil {
						return err
					}
				}
			}
		})
		if err != nil {
			return err
		}
		return all.join(parts)
	}}
	return (&Pipeline{stages: p.stages[at+1:]}).over(r, c)
}

// An ending is an input that is over, with something to close.
type ending struct{ closing func() }

func (e ending) Next() ([]byte, error) { return nil, nil }
func (e ending) Close()                { e.closing() }

// single reports whether a stage works on one document after the other. They keep nothing
// from one document to the next, so several copies may work on parts of the input.
func single(s stage) bool {
	switch s.(type) {
	case matchStage, projectStage, replaceStage, redactStage, *unwindStage:
		return true
	}
	return false
}

// join joins the groups of several goroutines, in the order in which their first documents
// are. A group that only one part has is taken over as it is. Where several have it, its
// _id is that of the part that met it first, as 1 and 1.0 are one group.
func (g *groups) join(parts []*groups) error {
	for _, p := range parts {
		for key, one := range p.byKey {
			have := g.byKey[key]
			if have == nil {
				g.byKey[key] = one
				g.all = append(g.all, one)
				continue
			}
			for i, acc := range have.accs {
				if err := acc.(expr.Joiner).Join(one.accs[i]); err != nil {
					return err
				}
			}
			if bytes.Compare(one.at, have.at) < 0 {
				have.at, have.id = one.at, one.id
			}
		}
	}
	slices.SortFunc(g.all, func(a, b *group) int { return bytes.Compare(a.at, b.at) })
	return nil
}
