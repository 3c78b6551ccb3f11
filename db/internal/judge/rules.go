package judge

import (
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/db/internal/payload"
	"github.com/weftdb/weft/db/internal/rules"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
)

// RuleTexts are the rules of a definition, as db.Rules has them; "" allows all.
type RuleTexts struct{ Write, Read, Define string }

// CompiledRules are the rules of a definition.
type CompiledRules struct {
	Text                RuleTexts
	write, Read, define *rules.Rule
}

// An Author is who writes an operation, and when.
type Author struct {
	Time         clock.Time
	Writer, Role string
	Ops          int // of the record: each has an equal share of its work; 0 is 1
}

// ParseRules reads the rules of a definition.
func ParseRules(v value.Value) (r CompiledRules, err error) {
	if !v.IsDoc() {
		return r, fault.Errorf(fault.BadValue, "a definition's rules must be a document")
	}
	it := value.Elements(v.Data)
	for k, e, ok := it.Next(); ok; k, e, ok = it.Next() {
		if e.Type != bson.TypeString {
			return r, fault.Errorf(fault.BadValue, "the %s rule must be a string", k)
		}
		text := string(e.Str())
		switch string(k) {
		case "write":
			r.Text.Write = text
		case "read":
			r.Text.Read = text
		case "define":
			r.Text.Define = text
		default:
			return r, fault.Errorf(fault.BadValue, "there is no %q rule: there are write, read and define", k)
		}
	}
	return r, r.Compile()
}

// Compile compiles the texts.
func (r *CompiledRules) Compile() error {
	for _, x := range []struct {
		name, text string
		kind       rules.Kind
		to         **rules.Rule
	}{
		{"write", r.Text.Write, rules.Write, &r.write},
		{"read", r.Text.Read, rules.Read, &r.Read},
		{"define", r.Text.Define, rules.Write, &r.define},
	} {
		if x.text == "" {
			continue
		}
		var err error
		if *x.to, err = rules.Compile(x.kind, x.text); err != nil {
			return fault.Errorf(fault.BadValue, "bad %s rule: %v", x.name, err)
		}
	}
	return nil
}

// RulesDoc is the form of rules in a definition.
func RulesDoc(r RuleTexts) bson.D {
	out := bson.D{}
	for _, f := range []bson.E{{Key: "write", Value: r.Write}, {Key: "read", Value: r.Read}, {Key: "define", Value: r.Define}} {
		if f.Value != "" {
			out = append(out, f)
		}
	}
	return out
}

// allows judges by the rule for what o makes of a document. A definition is
// judged by its own rule, as it was before: who may not change a collection cannot give
// itself leave. The first definition of a collection is free.
func (d *Definition) allows(o *payload.Op, old, now []byte, by Author, m *value.Meter) error {
	name, rule := "write", (*rules.Rule)(nil)
	if o.Coll == SystemCollection {
		name = "define"
		if old == nil {
			return nil
		}
		was, err := ParseRules(orEmptyDoc(value.Get(old, "rules")))
		if err != nil {
			return err
		}
		rule = was.define
	} else if d != nil {
		rule = d.Rules.write
	}
	if rule == nil {
		return nil
	}
	in := rules.Input{Identity: by.Writer, Role: by.Role, Op: o.Kind.String(), Doc: now, Old: old, Now: by.Time.Wall()}
	switch {
	case now == nil:
		in.Doc = old
	case old == nil:
		in.Op = payload.Insert.String()
	}
	if err := rule.AllowsWithin(&in, m); err != nil {
		return fault.Of(keyspace.ErrRule, "denied by the %s rule of %s: %w", name, ruled(o), err)
	}
	return nil
}

// ruled names the collection whose rule judges o.
func ruled(o *payload.Op) string {
	if o.Coll == SystemCollection {
		return string(o.ID.Str())
	}
	return o.Coll
}

func orEmptyDoc(v value.Value) value.Value {
	if v.Exists() {
		return v
	}
	return value.Doc(bson.Raw{5, 0, 0, 0, 0})
}
