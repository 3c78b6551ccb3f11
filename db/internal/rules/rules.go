// Package rules evaluates, for operations and reads, expressions of the Common
// Expression Language (CEL), on encoded documents.
//
//	text ── Compile ── Rule ── Allows(Input) ── nil or why not
//
// An expression sees its input and nothing else: no clock, no randomness, no
// other document, no time zones of the host, no order of a map. Its cost is
// bounded. So every replica gets the same answer: docs/design/rules.md.
package rules

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/env"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/interpreter"

	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
)

// The limits of a rule. They are constants of the protocol, because they decide
// what is denied.
const (
	MaxText     = 4 << 10 // bytes
	MaxCost     = 50_000  // of one evaluation, in CEL's units
	maxScanned  = 8 << 20 // bytes of documents that one evaluation may walk over
	maxNesting  = 3       // comprehensions within one another
	maxElements = 128     // of all list and map literals
	maxPattern  = 300     // instructions of a regular expression
	maxDepth    = 64      // of the expression
)

// A Kind says what a rule is asked about.
type Kind int

// The kinds of rules.
const (
	Write Kind = iota // may the operation be done?
	Read              // may the reader see the document?
)

// Input is what a rule sees. A nil document is null.
type Input struct {
	Identity string    // writer, or reader: a did:key
	Role     string    // member.role
	Op       string    // of a write: insert, update, replace or delete
	Doc      []byte    // of a write: after it, or before it if it deletes
	Old      []byte    // of a write: before it
	Now      time.Time // of a write: the operation's time
}

// A Rule is a compiled expression; it is immutable and safe for concurrent use.
type Rule struct {
	kind     Kind
	patterns int                                     // instructions of all
	programs [len(costs)]func() (cel.Program, error) // by the cost that they allow
}

// costs are what programs of a rule allow: MaxCost, and less where an operation's share
// of work is small. A program is made when it is first needed.
var costs = [...]uint64{
	MaxCost, MaxCost / 2, MaxCost / 4, MaxCost / 8, MaxCost / 16, MaxCost / 32, MaxCost / 64, MaxCost / 128,
	MaxCost / 256, MaxCost / 512, MaxCost / 1024, MaxCost / 2048,
}

// costUnit is what a unit of CEL's cost counts for a meter.
const costUnit = 32 * value.MeterTick

// ErrDenied is what [Rule.Allows] returns where the expression is false.
var ErrDenied = fault.New(fault.Rule, "it is false")

var errScanned = errors.New("it reads too much")

var environments = [...]func() (*cel.Env, error){
	Write: sync.OnceValues(func() (*cel.Env, error) { return environment(Write) }),
	Read:  sync.OnceValues(func() (*cel.Env, error) { return environment(Read) }),
}

// environment is the language of one kind of rule: CEL's standard functions, and the
// variables of the kind.
func environment(k Kind) (*cel.Env, error) {
	doc := cel.MapType(cel.StringType, cel.DynType)
	o := []cel.EnvOption{
		// The library's timestamp("…") may take on the host's time zone.
		cel.StdLib(cel.StdLibSubset(env.NewLibrarySubset().AddExcludedFunctions(env.NewFunction("timestamp")))),
		cel.Function("timestamp",
			cel.Overload("string_to_timestamp", []*cel.Type{cel.StringType}, cel.TimestampType, cel.UnaryBinding(toTimestamp)),
			cel.Overload("int64_to_timestamp", []*cel.Type{cel.IntType}, cel.TimestampType, cel.UnaryBinding(toTimestamp)),
			cel.Overload("timestamp_to_timestamp", []*cel.Type{cel.TimestampType}, cel.TimestampType, cel.UnaryBinding(toTimestamp))),
		cel.DefaultUTCTimeZone(true),
		cel.ParserRecursionLimit(maxDepth), cel.ParserExpressionSizeLimit(MaxText), cel.ExpressionNodeLimit(4 * MaxText),
		cel.Variable("doc", doc), cel.Variable("member", cel.MapType(cel.StringType, cel.StringType)),
	}
	if k == Read {
		return cel.NewCustomEnv(append(o, cel.Variable("reader", cel.StringType))...)
	}
	return cel.NewCustomEnv(append(o, cel.Variable("writer", cel.StringType), cel.Variable("op", cel.StringType),
		cel.Variable("old", cel.DynType), cel.Variable("now", cel.TimestampType))...)
}

// toTimestamp is timestamp(…), in UTC.
func toTimestamp(v ref.Val) ref.Val {
	t, ok := v.ConvertToType(types.TimestampType).(types.Timestamp)
	if !ok {
		return types.NewErr("no time: %v", v.Value())
	}
	return types.Timestamp{Time: t.UTC()}
}

// Compile parses and checks a rule. The error says where and why it is none.
func Compile(k Kind, text string) (*Rule, error) {
	if len(text) > MaxText {
		return nil, fmt.Errorf("a rule has at most %d bytes, not %d", MaxText, len(text))
	}
	e, err := environments[k]()
	if err != nil {
		return nil, err
	}
	ast, issues := e.Compile(text)
	if issues.Err() != nil {
		first := issues.Errors()[0]
		return nil, fmt.Errorf("%d:%d: %s", first.Location.Line(), first.Location.Column()+1, first.Message)
	}
	if t := ast.OutputType(); !t.IsExactType(cel.BoolType) && !t.IsExactType(cel.DynType) {
		return nil, fmt.Errorf("a rule must give true or false, not %s", t)
	}
	patterns, err := check(ast.NativeRep().Expr())
	if err != nil {
		return nil, err
	}
	r := &Rule{kind: k, patterns: patterns}
	for i, most := range costs {
		r.programs[i] = sync.OnceValues(func() (cel.Program, error) {
			return e.Program(ast, cel.EvalOptions(cel.OptOptimize), cel.CostLimit(most))
		})
	}
	_, err = r.programs[0]()
	return r, err
}

// Allows returns nil if the rule is true for the input. Else it says why not:
// ErrDenied if it is false; an expression that fails, gives no boolean, or goes
// over its limits denies, too.
func (r *Rule) Allows(in *Input) error { return r.AllowsWithin(in, nil) }

var errWork = fault.New(fault.TooCostly, "the rule takes more than its share of work on this document")

// AllowsWithin is Allows that does no more than m allows; more denies, and empties m. CEL
// bounds the cost of a program when it is made. So there is one for each of a few bounds,
// and the first is run that m can pay for; where that ends below MaxCost, m is what ended
// it, and is exhausted.
func (r *Rule) AllowsWithin(in *Input, m *value.Meter) error {
	most := maxScanned
	if m != nil {
		most = min(most, m.Left)
	}
	level := 0
	for ; level < len(costs) && m != nil && m.Left/costUnit < int(costs[level]); level++ {
	}
	if level == len(costs) || most < 0 {
		m.Exhaust()
		return errWork
	}
	p, err := r.programs[level]()
	if err != nil {
		return err
	}
	a := &activation{in: in, kind: r.kind, meter: meter{left: most, patterns: r.patterns, work: m}}
	out, details, err := p.Eval(a)
	m.Spend(most - a.meter.left)
	if cost := details.ActualCost(); cost != nil {
		m.Spend(int(min(*cost, MaxCost)) * costUnit)
	}
	if level > 0 && cancelled(err) || most < maxScanned && a.meter.left < 0 {
		m.Exhaust()
	}
	switch {
	case a.meter.left < 0:
		return errScanned
	case err != nil:
		return clip(err)
	case out == types.True:
		return nil
	case out == types.False:
		return ErrDenied
	}
	return fmt.Errorf("it gives %s, not true or false", out.Type().TypeName())
}

func cancelled(err error) bool {
	var c interpreter.EvalCancelledError
	return errors.As(err, &c)
}

// clip bounds the text of an error of CEL, which may quote values of any length.
func clip(err error) error {
	if cancelled(err) {
		return errors.New("it costs too much")
	}
	s := err.Error()
	return errors.New(s[:min(len(s), 200)])
}

// An activation resolves the variables of one evaluation.
type activation struct {
	in    *Input
	kind  Kind
	meter meter
}

// ResolveName implements [interpreter.Activation].
func (a *activation) ResolveName(name string) (any, bool) {
	switch name {
	case "doc":
		return a.document(a.in.Doc), true
	case "member":
		return types.NewStringStringMap(types.DefaultTypeAdapter, map[string]string{"role": a.in.Role}), true
	case "reader", "writer":
		return types.String(a.in.Identity), (name == "reader") == (a.kind == Read)
	case "op":
		return types.String(a.in.Op), a.kind == Write
	case "old":
		return a.document(a.in.Old), a.kind == Write
	case "now":
		return types.Timestamp{Time: a.in.Now.UTC()}, a.kind == Write
	}
	return nil, false
}

// Parent implements [interpreter.Activation].
func (a *activation) Parent() interpreter.Activation { return nil }

func (a *activation) document(doc []byte) ref.Val {
	if doc == nil {
		return types.NullValue
	}
	return &document{doc, &a.meter}
}
