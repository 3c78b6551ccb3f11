package judge

import (
	"bytes"

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

// ErrNoView reports a change of a definition by a record without a view.
var ErrNoView = fault.New(fault.Definition, "a change of a definition has to say what its author had seen")

// An Author is who writes an operation, and when.
type Author struct {
	Time         clock.Time
	Writer, Role string
	Right        string // of a change of a definition: the role by which the record counts
	Ops          int    // of the record: each has an equal share of its work; 0 is 1
}

// The roles that a definition knows; whatever else an author's right is counts as a writer's.
const (
	RoleOwner  = "owner"
	RoleAdmin  = "admin"
	RoleWriter = "writer"
	RolePlain  = "plain" // a record that does not say what its author had: it defines nothing
	RoleNone   = "none"  // of a record that no right to define covers: a delegated device has none
)

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

// allows judges by the rule for what o makes of a document.
func (d *Definition) allows(o *payload.Op, old, now []byte, by Author, m *value.Meter) error {
	if o.Coll == SystemCollection {
		return mayDefine(o, old, now, by, m)
	}
	if d == nil {
		return nil
	}
	return asks(d.Rules.write, "write", o, old, now, by, m)
}

// mayDefine judges a change of a definition. An owner may, always: no rule takes that away.
// What the rule of the definition as it was says holds for others, so that who may not
// change a collection cannot give itself leave; without one admins may. What is for
// everybody in a definition, any writer may change.
func mayDefine(o *payload.Op, old, now []byte, by Author, m *value.Meter) error {
	if by.Right == RoleOwner || bytes.Equal(definedIn(old), definedIn(now)) {
		return nil
	}
	switch by.Right {
	case RolePlain:
		return ErrNoView
	case RoleNone:
		return fault.Of(keyspace.ErrRole, "this device may not define %s: it is no member's, or another's that writes for one; a device of an owner or an admin does", ruled(o))
	}
	was, err := ParseRules(orEmptyDoc(value.Get(old, "rules")))
	if err != nil {
		return err
	}
	if was.define != nil {
		if by.Role = by.Right; by.Role != RoleAdmin {
			by.Role = RoleWriter
		}
		return asks(was.define, "define", o, old, now, by, m)
	}
	if by.Right == RoleAdmin {
		return nil
	}
	return fault.Of(keyspace.ErrRole, "only an owner or an admin of the database may define %s: its schema, its rules, "+
		"unique and expiring indexes, and its end; ask one to do it, or for the role", ruled(o))
}

// asks asks a rule; nil allows all.
func asks(rule *rules.Rule, name string, o *payload.Op, old, now []byte, by Author, m *value.Meter) error {
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
