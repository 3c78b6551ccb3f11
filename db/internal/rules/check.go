package rules

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"

	"github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/common/operators"
	"github.com/google/cel-go/common/types"
)

// A checker refuses what CEL allows and rules do not: what could differ between replicas,
// or take long before its cost is known. It runs on the parsed expression, once, when the
// rule is set: what it lets pass is never asked about again.
type checker struct {
	elements int
	nesting  int
	patterns int            // instructions of all
	tables   map[int64]bool // map literals that are only looked up in
}

var offset = regexp.MustCompile(`^[+-]?[0-2][0-9]:[0-5][0-9]$`)

// zoned are the functions that take a time zone.
var zoned = map[string]bool{
	"getFullYear": true, "getMonth": true, "getDayOfYear": true, "getDayOfMonth": true, "getDate": true, "getDayOfWeek": true,
	"getHours": true, "getMinutes": true, "getSeconds": true, "getMilliseconds": true,
}

// check returns how many instructions the rule's patterns have together.
func check(e ast.Expr) (patterns int, err error) {
	c := &checker{tables: map[int64]bool{}}
	err = c.expr(e)
	return c.patterns, err
}

func (c *checker) all(es ...ast.Expr) error {
	for _, e := range es {
		if err := c.expr(e); err != nil {
			return err
		}
	}
	return nil
}

// expr goes down the expression. What a comprehension goes over is not within it:
// doc.a.filter(…).all(…) is nested one deep.
func (c *checker) expr(e ast.Expr) error {
	switch e.Kind() {
	case ast.CallKind:
		return c.call(e.AsCall())
	case ast.SelectKind:
		return c.expr(e.AsSelect().Operand())
	case ast.ListKind:
		if err := c.literal(e.AsList().Size()); err != nil {
			return err
		}
		return c.all(e.AsList().Elements()...)
	case ast.MapKind:
		return c.table(e)
	case ast.StructKind:
		return fmt.Errorf("a rule cannot make messages such as %s{}", e.AsStruct().TypeName())
	case ast.ComprehensionKind:
		f := e.AsComprehension()
		if c.nesting++; c.nesting > maxNesting {
			return fmt.Errorf("all, exists, map and filter can be nested at most %d deep", maxNesting)
		}
		err := c.all(f.AccuInit(), f.LoopCondition(), f.LoopStep(), f.Result())
		c.nesting--
		if err != nil {
			return err
		}
		return c.expr(f.IterRange())
	}
	return nil
}

// literal counts the elements of all literals together.
func (c *checker) literal(n int) error {
	if c.elements += n; c.elements > maxElements {
		return fmt.Errorf("a list or map of a rule can have at most %d elements", maxElements)
	}
	return nil
}

// table checks a map literal. The order of its entries is not defined, so it
// may only be looked up in, by keys that cannot be equal.
func (c *checker) table(e ast.Expr) error {
	if !c.tables[e.ID()] {
		return errors.New("a map literal can only be looked up in: {…}[key], or key in {…}")
	}
	m := e.AsMap()
	if err := c.literal(m.Size()); err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, x := range m.Entries() {
		k := x.AsMapEntry()
		text, ok := constant(k.Key())
		if !ok || seen[text] {
			return errors.New("the keys of a map literal must be different literal strings")
		}
		seen[text] = true
		if err := c.expr(k.Value()); err != nil {
			return err
		}
	}
	return nil
}

// constant returns the value of a literal string.
func constant(e ast.Expr) (string, bool) {
	if e.Kind() != ast.LiteralKind {
		return "", false
	}
	s, ok := e.AsLiteral().(types.String)
	return string(s), ok
}

// programSize counts the instructions of a pattern; 0 if it is none, which Program
// tells. CEL's own limit panics on repetitions, which must be written out first.
func programSize(pattern string) int {
	re, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return 0
	}
	if repeats(re) {
		re = re.Simplify()
	}
	prog, err := syntax.Compile(re)
	if err != nil {
		return 0
	}
	return len(prog.Inst)
}

// repeats reports whether a pattern has counted repetitions, as {2,5}.
func repeats(re *syntax.Regexp) bool {
	return re.Op == syntax.OpRepeat || slices.ContainsFunc(re.Sub, repeats)
}

// call checks a call. A map literal that is only looked up in is marked before the
// arguments, of which it is one, are checked.
func (c *checker) call(f ast.CallExpr) error {
	args := f.Args()
	switch name := f.FunctionName(); {
	case name == operators.Index && len(args) == 2 && args[0].Kind() == ast.MapKind:
		c.tables[args[0].ID()] = true
	case name == operators.In && len(args) == 2 && args[1].Kind() == ast.MapKind:
		c.tables[args[1].ID()] = true
	case name == "matches":
		if len(args) == 0 {
			break
		}
		pattern, ok := constant(args[len(args)-1])
		if !ok {
			return errors.New("the pattern of matches must be a literal string")
		}
		n := programSize(pattern)
		if n > maxPattern {
			return fmt.Errorf("regex program size %d exceeds limit of %d", n, maxPattern)
		}
		c.patterns += n
	case zoned[name] && len(args) > 0:
		if z, ok := constant(args[0]); !ok || z != "UTC" && !offset.MatchString(z) {
			return fmt.Errorf(`the time zone of %s must be "UTC" or a literal offset, as "+02:00"`, name)
		}
	}
	if f.IsMemberFunction() {
		if err := c.expr(f.Target()); err != nil {
			return err
		}
	}
	return c.all(args...)
}
