package query_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/weftdb/weft/db/internal/query"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
)

func treeOf(t testing.TB, filter string) query.Tree { return mustFilter(t, filter).Tree() }

// A filter names a field if a path begins with it or an expression reads it, not
// if its bytes occur in another name or in a value.
func TestNames(t *testing.T) {
	for filter, want := range map[string]bool{
		`{}`:                                     false,
		`{"_mod":{"$gt":1}}`:                     true,
		`{"_mod.x":1}`:                           true,
		`{"a":1,"$or":[{"b":1},{"_mod":1}]}`:     true,
		`{"$nor":[{"$and":[{"_mod":1}]}]}`:       true,
		`{"x_mod":1}`:                            false,
		`{"a._mod":1}`:                           false,
		`{"_modx":1}`:                            false,
		`{"a":"_mod"}`:                           false,
		`{"a":"x_mod"}`:                          false,
		`{"a":{"_mod":1}}`:                       false,
		`{"a":{"$elemMatch":{"_mod":1}}}`:        false,
		`{"a":{"$in":["_mod"]}}`:                 false,
		`{"$expr":{"$gt":["$_mod",1]}}`:          true,
		`{"$expr":{"$gt":["$x_mod",1]}}`:         false,
		`{"$expr":{"$gt":["$a._mod",1]}}`:        false,
		`{"$expr":{"$eq":["$a","_mod"]}}`:        false,
		`{"$expr":{"$gt":["$$ROOT._mod",1]}}`:    true,
		`{"$expr":{"$gt":["$$CURRENT._mod",1]}}`: true,
		`{"$expr":{"$getField":"_mod"}}`:         true,
		`{"$expr":{"$getField":"x_mod"}}`:        false,
		`{"$expr":{"$let":{"vars":{"d":"$$ROOT"},"in":"$$d._mod"}}}`:                                true,
		`{"$expr":{"$let":{"vars":{"d":"$$ROOT"},"in":"$$d.x_mod"}}}`:                               false,
		`{"$expr":{"$let":{"vars":{"d":"$a"},"in":"$$d._mod"}}}`:                                    false,
		`{"$expr":{"$in":["_mod",{"$map":{"input":{"$objectToArray":"$$ROOT"},"in":"$$this.k"}}]}}`: true,
	} {
		if got := treeOf(t, filter).Names("_mod"); got != want {
			t.Errorf("%s: got %t", filter, got)
		}
	}
	for spec, want := range map[string]bool{`{"a":1,"_mod":-1}`: true, `{"x_mod":1,"a._mod":1}`: false} {
		s, err := query.CompileSort(parse(t, []byte(spec)))
		if err != nil || s.Names("_mod") != want {
			t.Errorf("sort %s: got %t, %v", spec, !want, err)
		}
	}
	for spec, want := range map[string]bool{
		`{"_mod":1}`: true, `{"_mod":0}`: true, `{"x_mod":0}`: false, `{"a._mod":0}`: false, `{"a":"$_mod"}`: true,
		`{"a":{"b":{"$add":["$_mod",1]}}}`: true, `{"a":"x_mod"}`: false, `{"a":{"$literal":"_mod"}}`: false,
	} {
		p, err := query.CompileProjection(parse(t, []byte(spec)))
		if err != nil || p.Names("_mod") != want {
			t.Errorf("projection %s: got %t, %v", spec, !want, err)
		}
	}
}

func TestTree(t *testing.T) {
	for filter, want := range map[string]struct {
		comparisons int
		conjuncts   []string // path and operator
		branches    []int    // of each $or
		fields      []string
		whole       bool
	}{
		`{}`: {},
		`{"a":1,"b":{"$gt":1,"$lt":5},"c":{"$in":[1,2]}}`: {comparisons: 4, conjuncts: []string{"a $eq", "b $gt", "b $lt", "c $in"}, fields: []string{"a", "b", "c"}},
		`{"a":{"$ne":1}}`:                                            {comparisons: -1, fields: []string{"a"}},
		`{"a":{"$not":{"$gt":1}},"b.c":2}`:                           {comparisons: -1, conjuncts: []string{"b.c $eq"}, fields: []string{"a", "b"}},
		`{"a":{"$all":[1,2]}}`:                                       {comparisons: -1, conjuncts: []string{"a $eq", "a $eq"}, fields: []string{"a"}},
		`{"a":{"$regex":"^x","$options":""}}`:                        {comparisons: -1, conjuncts: []string{"a $regex"}, fields: []string{"a"}},
		`{"a":{"$elemMatch":{"b":1,"$or":[{"c":2}]}}}`:               {comparisons: -1, conjuncts: []string{"a.b $eq inner", "a.c $eq inner"}, fields: []string{"a"}},
		`{"$and":[{"a":1},{"$or":[{"b":1},{"c":1}]}],"d":1}`:         {comparisons: -1, conjuncts: []string{"a $eq", "d $eq"}, branches: []int{2}, fields: []string{"a", "b", "c", "d"}},
		`{"$or":[{"a":1,"$or":[{"x":1},{"y":1}]}],"$comment":"why"}`: {comparisons: -1, conjuncts: []string{"a $eq"}, branches: []int{1}, fields: []string{"a", "x", "y"}},
		`{"$nor":[{"a":1}],"$expr":true}`:                            {comparisons: -1, fields: []string{"a"}, whole: true},
	} {
		tree := treeOf(t, filter)
		var cons []string
		for _, c := range tree.Conjuncts() {
			s := c.Path + " " + string(c.Op)
			if c.Inner {
				s += " inner"
			}
			cons = append(cons, s)
		}
		var branches []int
		for _, d := range tree.Disjunctions() {
			branches = append(branches, len(d))
		}
		fields, whole := tree.Fields()
		got := fmt.Sprint(tree.Comparisons(), cons, branches, fields, whole)
		if w := fmt.Sprint(want.comparisons, want.conjuncts, want.branches, want.fields, want.whole); got != w {
			t.Errorf("%s: got %s, want %s", filter, got, w)
		}
	}
}

// A branch of $or says as much as the same filter alone.
func TestBranchesHaveConjuncts(t *testing.T) {
	branches := treeOf(t, `{"$or":[{"a":1,"b":{"$lt":3}},{"$and":[{"c":{"$exists":true}}]}]}`).Disjunctions()[0]
	for i, alone := range []string{`{"a":1,"b":{"$lt":3}}`, `{"$and":[{"c":{"$exists":true}}]}`} {
		got, want := branches[i].Conjuncts(), mustFilter(t, alone).Conjuncts()
		if !slices.EqualFunc(got, want, func(a, b query.Conjunct) bool {
			return a.Path == b.Path && a.Op == b.Op && value.Equal(a.Value, b.Value)
		}) {
			t.Errorf("%s: got %v, want %v", alone, got, want)
		}
	}
}

// $text is kept where it has a meaning, and is no condition on a document.
func TestText(t *testing.T) {
	for _, c := range []struct {
		filter, text string
		kind         fault.Kind
	}{
		{filter: `{"a":1}`},
		{filter: `{"a":1,"$text":{"$search":"x"}}`, text: `{"$search":"x"}`},
		{filter: `{"$and":[{"$text":{"$search":"x"}},{"a":1}]}`, text: `{"$search":"x"}`},
		{filter: `{"$text":1}`, kind: fault.TypeMismatch},
		{filter: `{"$text":{},"$and":[{"$text":{}}]}`, kind: fault.BadValue},
		{filter: `{"$or":[{"$text":{"$search":"x"}}]}`, kind: fault.CommandNotSupported},
		{filter: `{"$nor":[{"$text":{"$search":"x"}}]}`, kind: fault.CommandNotSupported},
		{filter: `{"a":{"$elemMatch":{"$text":{}}}}`, kind: fault.BadValue},
	} {
		f, err := query.Scope{Text: true}.Compile(parse(t, []byte(c.filter)))
		if fault.KindOf(err) != c.kind {
			t.Errorf("%s: got %v, want %s", c.filter, err, c.kind)
		}
		if err != nil {
			continue
		}
		got := ""
		if f.Text() != nil {
			got = string(value.AppendJSON(nil, f.Text(), false))
		}
		if got != c.text || !f.Match(parse(t, []byte(`{"a":1}`))) {
			t.Errorf("%s: got %s", c.filter, got)
		}
	}
	if _, err := query.Compile(parse(t, []byte(`{"$text":{"$search":"x"}}`))); !fault.Is(err, fault.CommandNotSupported) {
		t.Errorf("without the scope: got %v", err)
	}
}

func TestImplies(t *testing.T) {
	for _, c := range []struct {
		filter, partial string
		want            bool
	}{
		{`{"a":1}`, `{}`, true},
		{`{"a":1}`, `{"a":1}`, true},
		{`{"a":2}`, `{"a":1}`, false},
		{`{"a":5}`, `{"a":{"$gt":3}}`, true},
		{`{"a":{"$gt":3}}`, `{"a":{"$gte":3}}`, true},
		{`{"a":{"$gte":3}}`, `{"a":{"$gt":3}}`, false},
		{`{"a":{"$gt":3}}`, `{"a":{"$lt":3}}`, false},
		{`{"a":{"$in":[4,5]}}`, `{"a":{"$gt":3,"$lt":6}}`, true},
		{`{"a":{"$in":[4,5]}}`, `{"a":{"$in":[5,4,3]}}`, true},
		{`{"a":{"$in":[4,null]}}`, `{"a":{"$exists":true}}`, false},
		{`{"a":"x"}`, `{"a":{"$gt":3}}`, false},
		{`{"a":{"$type":"int"}}`, `{"a":{"$type":"int"}}`, true},
		{`{"a":1}`, `{"a":{"$type":"int"}}`, false},
		{`{"a":1,"b":2}`, `{"$or":[{"b":2},{"c":1}]}`, true},
		{`{"a":1}`, `{"$and":[{"a":1},{"b":1}]}`, false},
		{`{"$or":[{"b":2},{"c":1}]}`, `{"$or":[{"b":2},{"c":1}]}`, true},
		{`{"$or":[{"c":1},{"b":2}]}`, `{"$or":[{"b":2},{"c":1}]}`, false},
		{`{"a":{"$elemMatch":{"$gt":5}}}`, `{"a":{"$gt":3}}`, false},
		{`{"a.0":5}`, `{"a.0":{"$gt":3}}`, false},
	} {
		f := mustFilter(t, c.filter)
		if got := f.Tree().Implies(f.Conjuncts(), treeOf(t, c.partial)); got != c.want {
			t.Errorf("%s implies %s: got %t", c.filter, c.partial, got)
		}
	}
}
