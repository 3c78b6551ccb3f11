package db

import (
	"github.com/weftdb/weft/db/internal/schema"
	"github.com/weftdb/weft/internal/fault"
)

// A validator is what a definition says about documents, besides rules.
type validator struct {
	text    string // of the schema, "" for none
	formats bool   // `format` is an assertion
	level   string // strict, moderate, off
	warn    bool   // misfits are accepted
	schema  *schema.Schema
}

// The words of a definition for how a schema is applied; MongoDB's.
const (
	levelStrict   = "strict"
	levelModerate = "moderate"
	levelOff      = "off"
	actionError   = "error"
	actionWarn    = "warn"
)

func compileSchema(text string, formats bool) (*schema.Schema, error) {
	s, err := schema.Compile(text, schema.Options{Formats: formats})
	if err != nil {
		return nil, fault.Errorf(fault.BadValue, "bad schema: %w", err)
	}
	return s, nil
}

// fits judges doc by the schema alone, whatever the level and the action.
func (v *validator) fits(doc []byte) error {
	if v.schema == nil {
		return nil
	}
	return v.schema.Check(doc)
}

// validate judges a document that takes the place of old, nil for none.
func (d *definition) validate(old, doc []byte) error {
	if d == nil || d.schema == nil || d.level == levelOff || d.warn {
		return nil
	}
	err := d.fits(doc)
	if err == nil || d.level == levelModerate && old != nil && d.fits(old) != nil {
		return nil
	}
	if d.next != nil && d.next.fits(doc) == nil {
		return nil // a migration is under way: either shape will do
	}
	return err
}
