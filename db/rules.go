package db

import (
	"context"
	"errors"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/payload"
	"github.com/weftdb/weft/db/internal/rules"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
)

// Rules are expressions of the Common Expression Language (CEL) that say who
// may do what to a collection. "" allows everything. The variables, and what an
// expression may be: docs/design/rules.md.
type Rules struct {
	// Write is judged for every operation on a document, by every replica at
	// the operation's place: what it denies is refused.
	Write string
	// Read says which documents a reader is shown. It keeps an honest node's
	// answers short and is no secret: every member holds the data. What some
	// members must not read belongs in a database of its own.
	Read string
	// Define is judged for changes of the collection's definition, its rules
	// included; doc and old are documents of system.collections.
	Define string
}

// compiledRules are the rules of a definition.
type compiledRules struct {
	text                Rules
	write, read, define *rules.Rule
}

// An author is who writes an operation, and when.
type author struct {
	time         clock.Time
	writer, role string
}

func (r *record) author() author { return author{r.time, r.writer, r.role} }

// author returns this device as the author of what it writes at t.
func (db *DB) author(t clock.Time) author {
	w, role := db.journal.Writer()
	return author{t, w, role}
}

func (db *DB) ownRecord(t clock.Time, atomic bool, ops []payload.Op) *record {
	a := db.author(t)
	return &record{time: t, atomic: atomic, ops: ops, writer: a.writer, role: a.role}
}

// parseRules reads the rules of a definition.
func parseRules(v value.Value) (r compiledRules, err error) {
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
			r.text.Write = text
		case "read":
			r.text.Read = text
		case "define":
			r.text.Define = text
		default:
			return r, fault.Errorf(fault.BadValue, "there is no %q rule: there are write, read and define", k)
		}
	}
	return r, r.compile()
}

func (r *compiledRules) compile() error {
	for _, x := range []struct {
		name, text string
		kind       rules.Kind
		to         **rules.Rule
	}{
		{"write", r.text.Write, rules.Write, &r.write},
		{"read", r.text.Read, rules.Read, &r.read},
		{"define", r.text.Define, rules.Write, &r.define},
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

// rulesDoc is the form of rules in a definition.
func rulesDoc(r Rules) bson.D {
	out := bson.D{}
	for _, f := range []bson.E{{Key: "write", Value: r.Write}, {Key: "read", Value: r.Read}, {Key: "define", Value: r.Define}} {
		if f.Value != "" {
			out = append(out, f)
		}
	}
	return out
}

// allows judges by the rule for what o makes of a document. A definition is
// judged by its own rule, as it was before.
func (d *definition) allows(o *payload.Op, old, now []byte, by author) error {
	name, rule := "write", (*rules.Rule)(nil)
	if o.Coll == systemCollection {
		name = "define"
		if old == nil {
			return nil
		}
		was, err := parseRules(orEmptyDoc(value.Get(old, "rules")))
		if err != nil {
			return err
		}
		rule = was.define
	} else if d != nil {
		rule = d.rules.write
	}
	if rule == nil {
		return nil
	}
	in := rules.Input{Identity: by.writer, Role: by.role, Op: o.Kind.String(), Doc: now, Old: old, Now: by.time.Wall()}
	switch {
	case now == nil:
		in.Doc = old
	case old == nil:
		in.Op = payload.Insert.String()
	}
	if err := rule.Allows(&in); err != nil {
		return fault.Of(ErrRule, "denied by the %s rule of %s: %w", name, ruled(o), err)
	}
	return nil
}

// ruled names the collection whose rule judges o.
func ruled(o *payload.Op) string {
	if o.Coll == systemCollection {
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

type readerKey struct{}

// WithReader returns a context whose calls read with the eyes of an identity, a
// did:key, and its role; read rules judge by them.
func WithReader(ctx context.Context, identity, role string) context.Context {
	return context.WithValue(ctx, readerKey{}, rules.Input{Identity: identity, Role: role})
}

// everything marks the contexts of work that looks at all documents, whoever
// may read them.
type everything struct{}

func seeingAll(ctx context.Context) context.Context {
	return context.WithValue(ctx, everything{}, true)
}

// A sight is what a reader is shown of a collection; nil is everything.
type sight struct {
	rule *rules.Rule
	in   rules.Input
}

// sight returns what the reader of ctx is shown of a collection in v.
func (v *view) sight(ctx context.Context, db *DB, name string) (*sight, error) {
	if all, _ := ctx.Value(everything{}).(bool); all || name == systemCollection {
		return nil, nil
	}
	d, err := v.definition(db, name)
	if errors.Is(err, ErrNotFound) || err == nil && d.rules.read == nil {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	in, ok := ctx.Value(readerKey{}).(rules.Input)
	if !ok {
		in.Identity, in.Role = db.journal.Writer()
		if db.identity != "" && db.identity != in.Identity {
			in.Identity, in.Role = db.identity, ""
		}
	}
	return &sight{d.rules.read, in}, nil
}

// shows reports whether the reader is shown a document.
func (s *sight) shows(doc []byte) bool {
	if s == nil || doc == nil {
		return true
	}
	in := s.in
	in.Doc = doc
	return s.rule.Allows(&in) == nil
}
