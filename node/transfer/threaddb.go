package transfer

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/internal/fault"
)

// maxThreadDB bounds one file of a ThreadDB export that is not read line by
// line, in bytes.
const maxThreadDB = 256 << 20

// A ThreadDBOptions says what becomes of what Weft has otherwise.
type ThreadDBOptions struct {
	// Mod is the field that keeps an instance's _mod; "" leaves it out, as here
	// _mod is the time of a document's last change, which nobody writes.
	Mod string
}

// A ThreadDB is an export of a ThreadDB app: collections with their JSON Schemas, indexes
// and instances, as the app wrote them out. Next gives its definitions and documents like a
// Reader, for collections in the order of their names. It belongs to one goroutine. Of the
// collections one file at a time is open.
type ThreadDB struct {
	o     ThreadDBOptions
	colls []threadColl
	open  *Reader
	file  *os.File
	rest  []json.RawMessage // instances of the collection at hand
	line  uint64
	begun bool
	mods  int64
	notes []string
}

// A threadConfig is a collection as ThreadDB's clients write it.
type threadConfig struct {
	Name    string          `json:"name"`
	Schema  json.RawMessage `json:"schema"`
	Indexes []struct {
		Path   string `json:"path"`
		Unique bool   `json:"unique"`
	} `json:"indexes"`
	WriteValidator string            `json:"writeValidator"`
	ReadFilter     string            `json:"readFilter"`
	Instances      []json.RawMessage `json:"instances"`
	Documents      []json.RawMessage `json:"documents"`
}

type threadColl struct {
	threadConfig
	path string // of the file with its instances; "" if they are in the configuration
}

// collectionName is what the original allows as the name of a collection.
var collectionName = regexp.MustCompile(`^[A-Za-z0-9]+(?:-[A-Za-z0-9]+)*$`)

// OpenThreadDB opens an export:
//
//	a file   {"collections": [{name, schema, indexes, instances}…]}, or that array
//	a folder NAME.json or NAME.jsonl with the instances of a collection,
//	         NAME.schema.json with its schema, and collections.json with the
//	         configurations of all, each where there is one; all also .gz
//
// The caller owes Close.
func OpenThreadDB(path string, o ThreadDBOptions) (*ThreadDB, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	t := &ThreadDB{o: o}
	if info.IsDir() {
		err = t.readFolder(path)
	} else {
		t.colls, err = readConfigs(path)
	}
	if err != nil {
		return nil, err
	}
	if len(t.colls) == 0 {
		return nil, fault.Of(ErrFormat, "%s holds no ThreadDB collections", path)
	}
	slices.SortFunc(t.colls, func(a, b threadColl) int { return strings.Compare(a.Name, b.Name) })
	for i, c := range t.colls {
		if !collectionName.MatchString(c.Name) || i > 0 && t.colls[i-1].Name == c.Name {
			return nil, fault.Of(ErrFormat, "invalid or repeated collection name %.80q: want letters, digits and dashes", c.Name)
		}
	}
	return t, nil
}

// readConfigs reads the configurations of a file, with or without instances.
func readConfigs(path string) ([]threadColl, error) {
	text, err := readAll(path)
	if err != nil {
		return nil, err
	}
	var configs []threadConfig
	if trimmed := bytes.TrimSpace(text); len(trimmed) > 0 && trimmed[0] == '[' {
		err = json.Unmarshal(text, &configs)
	} else {
		var whole struct {
			Name        string         `json:"name"`
			Collections []threadConfig `json:"collections"`
		}
		err = json.Unmarshal(text, &whole)
		configs = whole.Collections
	}
	if err != nil {
		return nil, fault.Of(ErrFormat, "%s: %v", path, err)
	}
	var out []threadColl
	for _, c := range configs {
		out = append(out, threadColl{threadConfig: c})
	}
	return out, nil
}

// readAll returns the whole of a file, unpacked.
func readAll(path string) (text []byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	b, free, err := unpack(f)
	if err == nil {
		text, err = io.ReadAll(io.LimitReader(b, maxThreadDB+1))
		free()
	}
	if err != nil {
		err = fmt.Errorf("%s: %w", path, cutShort(err))
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	if len(text) > maxThreadDB {
		return nil, fault.Of(ErrFormat, "%s has more than %d bytes: export a folder with a file for each collection", path, maxThreadDB)
	}
	return text, nil
}

// readFolder finds what belongs to which collection by the names of the files. A file with
// another ending is an error, because it may be what somebody wanted to import. Instances
// in the configuration and in a file are too: there would be two that claim to be all.
func (t *ThreadDB) readFolder(dir string) error {
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		return err
	}
	at := func(name string) *threadColl {
		for i := range t.colls {
			if t.colls[i].Name == name {
				return &t.colls[i]
			}
		}
		t.colls = append(t.colls, threadColl{threadConfig: threadConfig{Name: name}})
		return &t.colls[len(t.colls)-1]
	}
	configs := false
	for _, path := range names {
		if base := filepath.Base(path); base != "collections.json" && base != "collections.json.gz" {
			continue
		}
		if configs {
			return fault.Of(ErrFormat, "the configurations are given twice: %s", path)
		}
		configs = true
		if t.colls, err = readConfigs(path); err != nil {
			return err
		}
	}
	for _, path := range names {
		base := strings.TrimSuffix(filepath.Base(path), ".gz")
		name, schema := strings.CutSuffix(base, ".schema.json")
		stem, jsonl := strings.CutSuffix(base, ".jsonl")
		if !jsonl {
			if stem, jsonl = strings.CutSuffix(base, ".json"); !jsonl {
				return fault.Of(ErrFormat, "%s does not belong to a ThreadDB export", path)
			}
		}
		switch {
		case base == "collections.json":
		case schema:
			text, err := readAll(path)
			if err != nil {
				return err
			}
			at(name).Schema = text
		default:
			if c := at(stem); c.path == "" && len(c.Instances)+len(c.Documents) == 0 {
				c.path = path
			} else {
				return fault.Of(ErrFormat, "the instances of %s are given twice", stem)
			}
		}
	}
	return nil
}

// Close frees what is open.
func (t *ThreadDB) Close() error {
	if t.open == nil {
		return nil
	}
	t.open.Close()
	t.open = nil
	return t.file.Close()
}

// Notes says what of the export has no counterpart here and was left out.
func (t *ThreadDB) Notes() []string {
	out := slices.Clone(t.notes)
	if t.mods > 0 {
		out = append(out, fmt.Sprintf("the _mod of %d instances was left out: a document's _mod here is the time of its last change (--mod FIELD keeps it in a field)", t.mods))
	}
	return out
}

func (t *ThreadDB) note(format string, args ...any) {
	t.notes = append(t.notes, fmt.Sprintf(format, args...))
}

// Next returns the next definition or document; io.EOF at the end.
func (t *ThreadDB) Next() (Item, error) {
	for len(t.colls) > 0 {
		c := &t.colls[0]
		if !t.begun {
			t.begun = true
			return t.begin(c)
		}
		it, err := t.instance(c)
		if !errors.Is(err, io.EOF) {
			return it, err
		}
		if err := t.Close(); err != nil {
			return Item{}, err
		}
		t.colls, t.begun = t.colls[1:], false
	}
	return Item{}, io.EOF
}

// begin opens a collection and returns its definition. The definition has the form of a
// document of system.collections, which is what a [Writer] takes.
func (t *ThreadDB) begin(c *threadColl) (it Item, err error) {
	t.line, t.rest = 0, append(c.Instances, c.Documents...)
	if c.path != "" {
		if t.file, err = os.Open(c.path); err != nil {
			return it, err
		}
		// NewIDs gives none here: an instance without an _id is a failure.
		if t.open, err = NewReader(t.file, ReaderOptions{NewIDs: true}); err != nil {
			return it, errors.Join(fmt.Errorf("%s: %w", c.path, err), t.file.Close())
		}
	}
	if c.WriteValidator != "" || c.ReadFilter != "" {
		t.note("collection %s has validators in JavaScript, which were left out: write rules for it", c.Name)
	}
	def := bson.D{{Key: "_id", Value: c.Name}}
	indexes, plain := bson.A{}, bson.A{}
	for _, x := range c.Indexes {
		if x.Path == "" {
			return it, fault.Of(ErrFormat, "an index of %s has no path", c.Name)
		}
		if x.Path == "_id" {
			continue // is always there
		}
		d := bson.D{{Key: "name", Value: x.Path + "_1"}, {Key: "key", Value: bson.D{{Key: x.Path, Value: int32(1)}}}}
		if x.Unique {
			indexes = append(indexes, append(d, bson.E{Key: "unique", Value: true}))
		} else {
			plain = append(plain, d)
		}
	}
	if len(indexes) > 0 {
		def = append(def, bson.E{Key: "indexes", Value: indexes})
	}
	schema, err := t.schema(c)
	if err != nil {
		return it, fault.Of(ErrFormat, "schema of %s: %v", c.Name, err)
	}
	if schema != "" {
		def = append(def, bson.E{Key: "schema", Value: schema})
	}
	def = append(def, bson.E{Key: "plain", Value: plain}) // as a database has it: last
	it = Item{Line: 1, Collection: c.Name}
	it.Definition, err = bson.Marshal(def)
	return it, err
}

// schema returns the JSON Schema of a collection in draft 2020-12 or 07. A schema of any
// other draft, or that names none, is taken for one of draft 4 or 6 and made one of draft
// 7. _mod is taken out of what is required, as no document here has it as a field.
func (t *ThreadDB) schema(c *threadColl) (string, error) {
	text := bytes.TrimSpace(c.Schema)
	if len(text) == 0 || string(text) == "null" {
		return "", nil
	}
	if text[0] == '"' { // as text, or base64 of it
		var s string
		if err := json.Unmarshal(text, &s); err != nil {
			return "", err
		}
		if text = []byte(s); len(text) > 0 && text[0] != '{' {
			b, err := base64.StdEncoding.DecodeString(s)
			if err != nil {
				return "", err
			}
			text = b
		}
	}
	var m map[string]any
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&m); err != nil {
		return "", err
	}
	if uri, _ := m["$schema"].(string); !strings.Contains(uri, "draft-07") && !strings.Contains(uri, "2020-12") {
		m["$schema"] = "http://json-schema.org/draft-07/schema#"
		modern(m)
	}
	if required, ok := m["required"].([]any); ok {
		m["required"] = slices.DeleteFunc(required, func(v any) bool { return v == "_mod" })
	}
	out, err := json.Marshal(m)
	return string(out), err
}

// modern takes what draft 4 says otherwise than draft 7. It changes v in place, at every
// depth, and looks at names only: a property that is called exclusiveMinimum is left alone
// unless its schema is a boolean.
func modern(v any) {
	switch x := v.(type) {
	case map[string]any:
		if id, ok := x["id"].(string); ok {
			if _, is := x["$id"]; !is && strings.Contains(id, "://") {
				x["$id"] = id
				delete(x, "id")
			}
		}
		for exclusive, bound := range map[string]string{"exclusiveMinimum": "minimum", "exclusiveMaximum": "maximum"} {
			if is, ok := x[exclusive].(bool); ok {
				delete(x, exclusive)
				if n, has := x[bound]; is && has {
					x[exclusive] = n
					delete(x, bound)
				}
			}
		}
		for _, part := range x {
			modern(part)
		}
	case []any:
		for _, part := range x {
			modern(part)
		}
	}
}

// instance returns the next instance of a collection; io.EOF after the last. ThreadDB's
// _ids are strings, by which its apps look instances up, so one of another type is a
// failure.
func (t *ThreadDB) instance(c *threadColl) (it Item, err error) {
	if t.open != nil {
		if it, err = t.open.Next(); err != nil {
			if !errors.Is(err, io.EOF) {
				err = fmt.Errorf("%s: %w", c.path, err)
			}
			return it, err
		}
	} else {
		if len(t.rest) == 0 {
			return it, io.EOF
		}
		t.line++
		it.Line = t.line
		it.Document, it.Err = parse(t.rest[0])
		t.rest = t.rest[1:]
	}
	it.Collection = c.Name
	if it.Err == nil {
		if _, ok := it.Document.Lookup("_id").StringValueOK(); !ok {
			it.Err = fault.Of(ErrFormat, "the _id of an instance must be a string")
			return it, nil
		}
		it.Document, it.Err = t.withoutMod(it.Document)
	}
	return it, nil
}

// withoutMod moves an instance's _mod to the field that keeps it, or leaves it
// out.
func (t *ThreadDB) withoutMod(doc bson.Raw) (bson.Raw, error) {
	if _, err := doc.LookupErr("_mod"); err != nil {
		return doc, nil
	}
	elements, err := doc.Elements()
	if err != nil {
		return nil, err
	}
	out := bson.D{}
	for _, e := range elements {
		key := e.Key()
		if key == "_mod" {
			if t.o.Mod == "" {
				t.mods++
				continue
			}
			key = t.o.Mod
		} else if key == t.o.Mod {
			return nil, fault.Of(ErrFormat, "the instance already has a field %s", key)
		}
		out = append(out, bson.E{Key: key, Value: e.Value()})
	}
	return bson.Marshal(out)
}
