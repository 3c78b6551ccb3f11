package judge

import (
	"bytes"
	"errors"
	"sync"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
)

// SystemCollection holds the definitions of all collections, one document a
// collection; they replicate and fold like other documents.
const SystemCollection = "system.collections"

// A Definition is a parsed document of the system collection.
type Definition struct {
	Validator
	Version int64               // rises with each change of schema, rules, level or action
	Rules   CompiledRules       // in force from the definition's place on
	Indexes []keyspace.IndexDef // as written, plain ones last; two of one name are possible, the first counts
	Plain   []keyspace.IndexDef // of Indexes, those that any writer may have asked for
	done    []migration         // steps of the versions before, oldest first
	Next    *pending            // a migration under way, nil for none
}

// A migration is what led to a version.
type migration struct {
	version int64
	text    string
	steps   []MigrationStep
}

// A pending migration says what holds once its steps are done. Until then a document
// fits if it fits either, so that nobody's writes are refused while documents are
// rewritten one by one (docs/adr/0005).
type pending struct {
	Validator
	ID    string // of this attempt: what ends it names it, so that it ends no other
	Text  string // of the steps, canonical Extended JSON
	Steps []MigrationStep
}

// MaxMigrations bounds the migrations that a definition remembers.
const MaxMigrations = 100

// ParseDefinition reads a document of the system collection.
func ParseDefinition(doc []byte) (*Definition, error) {
	d := &Definition{}
	it := value.Elements(doc)
	for k, v, ok := it.Next(); ok; k, v, ok = it.Next() {
		known, err := d.Validator.parse(string(k), v)
		if err == nil && !known {
			switch string(k) {
			case "_id":
			case "version":
				d.Version, err = wholeOf("version", v)
			case "indexes":
				d.Indexes, err = keyspace.ParseIndexes(v)
			case "plain":
				d.Plain, err = parsePlain(v)
			case "rules":
				d.Rules, err = ParseRules(v)
			case "steps":
				d.done, err = parseMigrations(v)
			case "next":
				d.Next, err = parsePending(v)
			default:
				err = fault.Errorf(fault.BadValue, "a definition has no field %q", k)
			}
		}
		if err != nil {
			return nil, err
		}
	}
	d.Indexes = append(d.Indexes, d.Plain...)
	if d.Next != nil {
		if err := d.Next.Compile(); err != nil {
			return nil, err
		}
	}
	return d, d.Compile()
}

// parsePlain reads the indexes that are no matter of those who may define.
func parsePlain(v value.Value) ([]keyspace.IndexDef, error) {
	xs, err := keyspace.ParseIndexes(v)
	for i := range xs {
		if err == nil && xs[i].Binds() {
			err = fault.Errorf(fault.BadValue, "the index %s of a definition's plain ones is unique or expires documents", xs[i].Name)
		}
	}
	return xs, err
}

// parse takes over a field that belongs to a validator.
func (v *Validator) parse(name string, e value.Value) (known bool, err error) {
	switch name {
	case "schema":
		v.Text, err = textOf(name, e)
	case "formats":
		if e.Type != bson.TypeBoolean {
			return true, fault.Errorf(fault.BadValue, "a definition's %s must be a boolean", name)
		}
		v.Formats = e.Bool()
	case "level":
		if v.Level, err = textOf(name, e); err == nil {
			err = OneOf(name, v.Level, LevelStrict, LevelModerate, LevelOff)
		}
	case "action":
		var action string
		if action, err = textOf(name, e); err == nil {
			err = OneOf(name, action, ActionError, ActionWarn)
		}
		v.Warn = action == ActionWarn
	default:
		return false, nil
	}
	return true, err
}

// Compile compiles the schema, if there is one.
func (v *Validator) Compile() (err error) {
	if v.Text != "" {
		v.Schema, err = compileSchema(v.Text, v.Formats)
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

// OneOf refuses what is none of the words that a field may have.
func OneOf(name, got string, words ...string) error {
	for _, w := range words {
		if got == w {
			return nil
		}
	}
	return fault.Errorf(fault.BadValue, "%s must be one of %q, not %q", name, words, got)
}

// parseMigrations reads the steps of the versions before: [{version, steps}, …].
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
		if m.steps, err = ParseMigration(m.text); err != nil {
			return nil, err
		}
		if out = append(out, m); len(out) > MaxMigrations {
			return nil, fault.Errorf(fault.BadValue, "a definition remembers at most %d migrations", MaxMigrations)
		}
	}
	return out, nil
}

// parsePending reads the migration that is under way: {id, steps, schema, …}.
func parsePending(v value.Value) (*pending, error) {
	if !v.IsDoc() {
		return nil, fault.Errorf(fault.BadValue, "a definition's next must be a document")
	}
	p := &pending{}
	it := value.Elements(v.Data)
	for k, e, ok := it.Next(); ok; k, e, ok = it.Next() {
		known, err := p.Validator.parse(string(k), e)
		if err == nil && !known {
			switch string(k) {
			case "id":
				p.ID, err = textOf("next.id", e)
			case "steps":
				if p.Text, err = textOf("next.steps", e); err == nil {
					p.Steps, err = ParseMigration(p.Text)
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

// LawOf returns what of a definition decides whether operations are accepted; version,
// indexes and past steps do not, so a change of these alone folds nothing again;
// documents are folded again where it changes.
func LawOf(doc []byte) string {
	if doc == nil {
		return ""
	}
	var law []byte
	it := value.Elements(doc)
	for k, v, ok := it.Next(); ok; k, v, ok = it.Next() {
		switch string(k) {
		case "_id", "version", "indexes", "plain", "steps":
		default:
			law = value.AppendElement(law, k, v)
		}
	}
	return string(law)
}

// Defines reports whether a definition differs in more than its plain indexes.
func Defines(old, now []byte) bool { return !bytes.Equal(definedIn(old), definedIn(now)) }

// Placed returns the verdict on a definition that holds and leaves next of the definitions
// before it, on the document at its place, of which it keeps the plain indexes.
func Placed(next, cur keyspace.State, t clock.Time) Verdict {
	if !Defines(cur.Doc, next.Doc) && (cur.Doc == nil) == (next.Doc == nil) {
		return Verdict{Next: cur}
	}
	if next.Doc == nil {
		return Verdict{Next: keyspace.State{Mod: t, Dead: true}}
	}
	out, at := value.Begin(make([]byte, 0, len(next.Doc)+len(cur.Doc)))
	it := value.Elements(next.Doc)
	for k, v, ok := it.Next(); ok; k, v, ok = it.Next() {
		if string(k) != "plain" {
			out = value.AppendElement(out, k, v)
		}
	}
	if plain := value.Get(cur.Doc, "plain"); plain.Exists() {
		out = value.AppendElement(out, []byte("plain"), plain)
	}
	return Verdict{Next: keyspace.State{Doc: value.End(out, at), Mod: t}}
}

// definedIn returns what of a definition is for those who may define: all but its name and
// the plain indexes.
func definedIn(doc []byte) []byte {
	if doc == nil {
		return nil
	}
	var out []byte
	it := value.Elements(doc)
	for k, v, ok := it.Next(); ok; k, v, ok = it.Next() {
		switch string(k) {
		case "_id", "plain":
		case "indexes":
			if v.IsArray() && len(v.Data) > 5 { // an empty one is none
				out = value.AppendElement(out, k, v)
			}
		default:
			out = value.AppendElement(out, k, v)
		}
	}
	return out
}

// Definitions remembers the definitions that were parsed last. It is safe for
// concurrent use; the zero value is empty.
type Definitions struct {
	mu sync.Mutex // guards by
	by map[string]*Definition
}

// maxDefinitions bounds the definitions that are remembered.
const maxDefinitions = 256

// Parse parses a stored definition; nil for none.
func (ds *Definitions) Parse(doc []byte) (*Definition, error) {
	if doc == nil {
		return nil, nil
	}
	ds.mu.Lock()
	defer ds.mu.Unlock()
	if d := ds.by[string(doc)]; d != nil {
		return d, nil
	}
	d, err := ParseDefinition(doc)
	if err != nil {
		return nil, errors.Join(keyspace.ErrCorrupt, err)
	}
	// All of them go: what is in use comes back with its next use.
	if ds.by == nil || len(ds.by) >= maxDefinitions {
		ds.by = map[string]*Definition{}
	}
	ds.by[string(doc)] = d
	return d, nil
}

// Forget empties it.
func (ds *Definitions) Forget() {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	ds.by = nil
}

// CatchUp rewrites a straggler by the steps of as few of the last migrations as
// make it fit; it leaves alone what fits, or never will.
func (d *Definition) CatchUp(doc bson.Raw) ([]Rewrite, bson.Raw, error) {
	if d.Fits(doc) == nil {
		return nil, doc, nil
	}
	// From which version it comes nothing says; the steps are harmless where they are not
	// needed, so the shortest list that makes it fit is tried first.
	for from := len(d.done) - 1; from >= 0; from-- {
		var steps []MigrationStep
		for _, m := range d.done[from:] {
			steps = append(steps, m.steps...)
		}
		if rs, after, err := Rewrites(steps, doc); err == nil && d.Fits(after) == nil {
			return rs, after, nil
		}
	}
	return nil, doc, nil
}
