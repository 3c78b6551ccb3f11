package db

import (
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
)

// systemCollection holds the definitions of all collections, one document a
// collection; they replicate and fold like other documents.
const systemCollection = "system.collections"

// A definition is a parsed document of the system collection.
type definition struct {
	validator
	version int64 // rises with each change of schema, rules, level or action
	rules   compiledRules
	indexes []Index
	done    []migration // steps of the versions before, oldest first
	next    *pending    // a migration under way, nil for none
}

// A migration is what led to a version.
type migration struct {
	version int64
	text    string
	steps   []step
}

// A pending migration says what holds once its steps are done.
type pending struct {
	validator
	id    string
	text  string // of the steps
	steps []step
}

// maxMigrations bounds the migrations that a definition remembers.
const maxMigrations = 100

// parseDefinition reads a document of the system collection.
func parseDefinition(doc []byte) (*definition, error) {
	d := &definition{}
	it := value.Elements(doc)
	for k, v, ok := it.Next(); ok; k, v, ok = it.Next() {
		known, err := d.validator.parse(string(k), v)
		if err == nil && !known {
			switch string(k) {
			case "_id":
			case "version":
				d.version, err = wholeOf("version", v)
			case "indexes":
				d.indexes, err = parseIndexes(v)
			case "rules":
				d.rules, err = parseRules(v)
			case "steps":
				d.done, err = parseMigrations(v)
			case "next":
				d.next, err = parsePending(v)
			default:
				err = fault.Errorf(fault.BadValue, "a definition has no field %q", k)
			}
		}
		if err != nil {
			return nil, err
		}
	}
	if d.next != nil {
		if err := d.next.compile(); err != nil {
			return nil, err
		}
	}
	return d, d.compile()
}

// parse takes over a field that belongs to a validator.
func (v *validator) parse(name string, e value.Value) (known bool, err error) {
	switch name {
	case "schema":
		v.text, err = textOf(name, e)
	case "formats":
		if e.Type != bson.TypeBoolean {
			return true, fault.Errorf(fault.BadValue, "a definition's %s must be a boolean", name)
		}
		v.formats = e.Bool()
	case "level":
		if v.level, err = textOf(name, e); err == nil {
			err = oneOf(name, v.level, levelStrict, levelModerate, levelOff)
		}
	case "action":
		var action string
		if action, err = textOf(name, e); err == nil {
			err = oneOf(name, action, actionError, actionWarn)
		}
		v.warn = action == actionWarn
	default:
		return false, nil
	}
	return true, err
}

func (v *validator) compile() (err error) {
	if v.text != "" {
		v.schema, err = compileSchema(v.text, v.formats)
	}
	return err
}

func textOf(name string, v value.Value) (string, error) {
	if v.Type != bson.TypeString {
		return "", fault.Errorf(fault.BadValue, "a definition's %s must be a string", name)
	}
	return string(v.Str()), nil
}

func wholeOf(name string, v value.Value) (int64, error) {
	if v.Type != bson.TypeInt32 && v.Type != bson.TypeInt64 {
		return 0, fault.Errorf(fault.BadValue, "a definition's %s must be a whole number", name)
	}
	return v.Int(), nil
}

func oneOf(name, got string, words ...string) error {
	for _, w := range words {
		if got == w {
			return nil
		}
	}
	return fault.Errorf(fault.BadValue, "%s must be one of %q, not %q", name, words, got)
}

func parseMigrations(v value.Value) (out []migration, err error) {
	if !v.IsArray() {
		return nil, fault.Errorf(fault.BadValue, "a definition's steps must be an array")
	}
	it := value.Elements(v.Data)
	for _, e, ok := it.Next(); ok; _, e, ok = it.Next() {
		var m migration
		if m.version, err = wholeOf("steps.version", value.Get(e.Data, "version")); err != nil {
			return nil, err
		}
		if m.text, err = textOf("steps.steps", value.Get(e.Data, "steps")); err != nil {
			return nil, err
		}
		if m.steps, err = parseSteps(m.text); err != nil {
			return nil, err
		}
		if out = append(out, m); len(out) > maxMigrations {
			return nil, fault.Errorf(fault.BadValue, "a definition remembers at most %d migrations", maxMigrations)
		}
	}
	return out, nil
}

func parsePending(v value.Value) (*pending, error) {
	if !v.IsDoc() {
		return nil, fault.Errorf(fault.BadValue, "a definition's next must be a document")
	}
	p := &pending{}
	it := value.Elements(v.Data)
	for k, e, ok := it.Next(); ok; k, e, ok = it.Next() {
		known, err := p.validator.parse(string(k), e)
		if err == nil && !known {
			switch string(k) {
			case "id":
				p.id, err = textOf("next.id", e)
			case "steps":
				if p.text, err = textOf("next.steps", e); err == nil {
					p.steps, err = parseSteps(p.text)
				}
			default:
				err = fault.Errorf(fault.BadValue, "a definition's next has no field %q", k)
			}
		}
		if err != nil {
			return nil, err
		}
	}
	return p, nil
}

// lawOf returns what of a definition decides whether operations are accepted;
// documents are folded again where it changes.
func lawOf(doc []byte) string {
	if doc == nil {
		return ""
	}
	var law []byte
	it := value.Elements(doc)
	for k, v, ok := it.Next(); ok; k, v, ok = it.Next() {
		switch string(k) {
		case "_id", "version", "indexes", "steps":
		default:
			law = value.AppendElement(law, k, v)
		}
	}
	return string(law)
}
