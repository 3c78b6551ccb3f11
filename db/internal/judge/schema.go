package judge

import (
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/schema"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
)

// A Validator is what a definition says about documents, besides rules.
type Validator struct {
	Text    string // of the schema, "" for none
	Formats bool   // `format` is an assertion
	Level   string // strict, moderate, off
	Warn    bool   // misfits are accepted
	Schema  *schema.Schema
}

// The words of a definition for how a schema is applied; MongoDB's.
const (
	LevelStrict   = "strict"
	LevelModerate = "moderate"
	LevelOff      = "off"
	ActionError   = "error"
	ActionWarn    = "warn"
)

func compileSchema(text string, formats bool) (*schema.Schema, error) {
	s, err := schema.Compile(text, schema.Options{Formats: formats})
	if err != nil {
		return nil, fault.Errorf(fault.BadValue, "bad schema: %w", err)
	}
	return s, nil
}

// Fits judges doc by the schema alone, whatever the level and the action.
func (v *Validator) Fits(doc []byte) error { return v.fits(doc, nil) }

// fits is Fits that does no more than m allows.
func (v *Validator) fits(doc []byte, m *value.Meter) error {
	if v.Schema == nil {
		return nil
	}
	return v.Schema.CheckWithin(doc, m)
}

// validate judges a document that takes the place of old, nil for none. At the level
// moderate what did not fit before need not fit now, so that old documents can be
// changed at all.
func (d *Definition) validate(old, doc []byte, m *value.Meter) error {
	if d == nil || d.Schema == nil || d.Level == LevelOff || d.Warn {
		return nil
	}
	err := d.fits(doc, m)
	if err == nil || d.Level == LevelModerate && old != nil && d.fits(old, m) != nil {
		return nil
	}
	if d.Next != nil && d.Next.fits(doc, m) == nil {
		return nil // a migration is under way: either shape will do
	}
	return err
}

// Fields is the form of a validator in a definition.
func (v *Validator) Fields() bson.D {
	out := bson.D{}
	if v.Text != "" {
		out = append(out, bson.E{Key: "schema", Value: v.Text})
	}
	action := ActionError
	if v.Warn {
		action = ActionWarn
	}
	level := v.Level
	if level == "" {
		level = LevelStrict
	}
	return append(out, bson.E{Key: "formats", Value: v.Formats}, bson.E{Key: "level", Value: level}, bson.E{Key: "action", Value: action})
}

// SameValidator reports whether two validators judge alike; no level is strict.
func SameValidator(a, b *Validator) bool {
	return a.Text == b.Text && a.Formats == b.Formats && a.Warn == b.Warn && (a.Level == b.Level || a.Level+b.Level == LevelStrict)
}
