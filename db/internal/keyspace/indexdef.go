package keyspace

import (
	"bytes"
	"math"
	"slices"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/query"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
)

const (
	// MaxIndexes bounds the indexes of a collection that bind, and those that do not,
	// besides that of _id.
	MaxIndexes      = 64
	maxIndexKeys    = 16
	maxIndexName    = 255
	maxWeight       = 99_999
	maxExpire       = math.MaxInt32 * time.Second
	maxPartial      = 16 << 10 // bytes of a partial index's filter
	maxPartialDepth = 4        // of $and and $or in it
)

// An IndexDef is the definition of an index, as [db.Index] describes it.
type IndexDef struct {
	Name        string
	Keys        []IndexKey
	Unique      bool           // no two documents have one key, as far as this replica can tell when it writes
	Sparse      bool           // without documents that have none of the fields
	Partial     bson.Raw       // the filter of the documents that it holds; nil for all
	ExpireAfter *time.Duration // after the date in its one field; whole seconds, nil for never
	Language    string         // of a text index
	State       IndexState     // set by those who list indexes, and not read
}

// IndexDoc returns x as it is written into definitions.
func IndexDoc(x IndexDef) bson.D {
	keys, weights := bson.D{}, bson.D{}
	for _, k := range x.Keys {
		var v any = int32(1)
		switch {
		case k.Text:
			v = "text"
		case k.Desc:
			v = int32(-1)
		}
		keys = append(keys, bson.E{Key: k.Path, Value: v})
		if k.Weight > 0 {
			weights = append(weights, bson.E{Key: k.Path, Value: int32(k.Weight)})
		}
	}
	d := bson.D{{Key: "name", Value: x.Name}, {Key: "key", Value: keys}}
	if x.Unique {
		d = append(d, bson.E{Key: "unique", Value: true})
	}
	if x.Sparse {
		d = append(d, bson.E{Key: "sparse", Value: true})
	}
	if x.Partial != nil {
		d = append(d, bson.E{Key: "partial", Value: string(value.AppendJSON(nil, x.Partial, true))})
	}
	if x.ExpireAfter != nil {
		d = append(d, bson.E{Key: "expire", Value: int32(*x.ExpireAfter / time.Second)})
	}
	if len(weights) > 0 {
		d = append(d, bson.E{Key: "weights", Value: weights})
	}
	if x.Language != "" {
		d = append(d, bson.E{Key: "language", Value: x.Language})
	}
	return d
}

// Binds reports whether the index decides about documents: a unique one refuses some, an
// expiring one ends them. Others are plain: what they say nobody has to be trusted with.
func (x *IndexDef) Binds() bool { return x.Unique || x.ExpireAfter != nil }

// SameIndex reports whether x and y are one definition.
func SameIndex(x, y IndexDef) bool {
	a, err := bson.Marshal(IndexDoc(x))
	b, berr := bson.Marshal(IndexDoc(y))
	return err == nil && berr == nil && bytes.Equal(a, b)
}

// ParseIndexes reads the indexes of a definition. What it refuses is refused
// on every replica.
func ParseIndexes(v value.Value) (out []IndexDef, err error) {
	if !v.IsArray() {
		return nil, fault.Errorf(fault.BadValue, "a definition's indexes must be an array")
	}
	it := value.Elements(v.Data)
	for _, e, ok := it.Next(); ok; _, e, ok = it.Next() {
		if !e.IsDoc() {
			return nil, fault.Errorf(fault.BadValue, "an index must be a document")
		}
		if len(out) == MaxIndexes {
			return nil, fault.Errorf(fault.BadValue, "a collection has at most %d indexes", MaxIndexes)
		}
		x, err := ParseIndex(e.Data)
		if err != nil {
			return nil, err
		}
		out = append(out, x)
	}
	return out, nil
}

// ParseIndex reads what IndexDoc gives.
func ParseIndex(doc []byte) (x IndexDef, err error) {
	weights := value.Value{}
	it := value.Elements(doc)
	for k, v, ok := it.Next(); ok; k, v, ok = it.Next() {
		switch string(k) {
		case "name":
			x.Name, err = StringOption("name", v)
		case "key":
			if !v.IsDoc() {
				return x, fault.Errorf(fault.BadValue, "an index must have a key document")
			}
			x.Keys, err = ParseIndexKeys(v.Data)
		case "unique":
			x.Unique, err = BoolOption("unique", v)
		case "sparse":
			x.Sparse, err = BoolOption("sparse", v)
		case "partial":
			x.Partial, err = partialText(v)
		case "expire":
			x.ExpireAfter, err = ExpireOption("expire", v)
		case "weights":
			weights = v
		case "language":
			x.Language, err = StringOption("language", v)
		default:
			err = fault.Errorf(fault.InvalidIndexOption, "an index has no field %q", k)
		}
		if err != nil {
			return x, err
		}
	}
	if err := SetWeights(&x, weights); err != nil {
		return x, err
	}
	return x, CheckIndex(&x)
}

// StringOption reads the option of that name of an index, or of $text, as a string.
func StringOption(name string, v value.Value) (string, error) {
	if v.Type != bson.TypeString {
		return "", fault.Errorf(fault.TypeMismatch, "index option %q must be a string", name)
	}
	return string(v.Str()), nil
}

// BoolOption reads a boolean, or a number as MongoDB's shells write it.
func BoolOption(name string, v value.Value) (bool, error) {
	if v.Type == bson.TypeBoolean {
		return v.Bool(), nil
	}
	if n, ok := v.Raw().AsInt64OK(); ok && v.IsNumber() {
		return n != 0, nil
	}
	return false, fault.Errorf(fault.TypeMismatch, "index option %q must be a boolean", name)
}

// ExpireOption reads the seconds after which documents expire; a fraction is dropped.
func ExpireOption(name string, v value.Value) (*time.Duration, error) {
	f, ok := v.Raw().AsFloat64OK()
	if !ok || !v.IsNumber() || math.IsNaN(f) {
		return nil, fault.Errorf(fault.TypeMismatch, "index option %q must be a number of seconds", name)
	}
	if f < 0 || f > math.MaxInt32 {
		return nil, fault.Errorf(fault.CannotCreateIndex, "index option %q must be 0 to %d seconds", name, math.MaxInt32)
	}
	d := time.Duration(f) * time.Second
	return &d, nil
}

func partialText(v value.Value) (bson.Raw, error) {
	if v.Type != bson.TypeString || len(v.Data) > 8*maxPartial {
		return nil, fault.Errorf(fault.TypeMismatch, "the partial filter of an index must be a string of Extended JSON")
	}
	return value.ParseJSON(v.Str())
}

// SetWeights takes the weights {path: 1 to 99,999} over into the text keys of x; none
// leaves it as it is.
func SetWeights(x *IndexDef, v value.Value) error {
	if !v.Exists() {
		return nil
	}
	if !v.IsDoc() {
		return fault.Errorf(fault.TypeMismatch, "index option %q must be a document", "weights")
	}
	it := value.Elements(v.Data)
	for k, w, ok := it.Next(); ok; k, w, ok = it.Next() {
		n, ok := w.Raw().AsInt64OK()
		if !ok || !w.IsNumber() || n < 1 || n > maxWeight {
			return fault.Errorf(fault.CannotCreateIndex, "the weight of %q must be 1 to %d", k, maxWeight)
		}
		found := false
		for i := range x.Keys {
			if x.Keys[i].Path == string(k) && x.Keys[i].Text {
				x.Keys[i].Weight, found = int(n), true
			}
		}
		if !found {
			return fault.Errorf(fault.CannotCreateIndex, "a weight is for a text key of the index, and %q is none", k)
		}
	}
	return nil
}

// ParseIndexKeys reads {path: 1, -1 or "text", …}; any number stands for its sign.
func ParseIndexKeys(doc []byte) (keys []IndexKey, err error) {
	it := value.Elements(doc)
	for k, v, ok := it.Next(); ok; k, v, ok = it.Next() {
		key := IndexKey{Path: string(k)}
		f, isNumber := v.Raw().AsFloat64OK()
		switch {
		case v.Type == bson.TypeString && string(v.Str()) == "text":
			key.Text = true
		case v.Type == bson.TypeString:
			return nil, fault.Errorf(fault.CannotCreateIndex, "indexes of the kind %q are not supported: %q", v.Str(), k)
		case isNumber && v.IsNumber() && f < 0:
			key.Desc = true
		case !isNumber || !v.IsNumber() || !(f > 0):
			return nil, fault.Errorf(fault.CannotCreateIndex, "the key %q of an index must be 1, -1 or \"text\"", k)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// CheckIndex checks x, completes it, and names it if it has no name.
func CheckIndex(x *IndexDef) error {
	if len(x.Keys) == 0 || len(x.Keys) > maxIndexKeys {
		return fault.Errorf(fault.CannotCreateIndex, "an index has 1 to %d keys", maxIndexKeys)
	}
	x.State = IndexState{}
	var name []string
	for i, k := range x.Keys {
		if err := checkIndexPath(k.Path); err != nil {
			return err
		}
		for _, other := range x.Keys[:i] {
			if other.Path == k.Path {
				return fault.Errorf(fault.CannotCreateIndex, "the index has the key %q twice", k.Path)
			}
		}
		if k.Weight < 0 || k.Weight > maxWeight || k.Weight > 0 && !k.Text {
			return fault.Errorf(fault.CannotCreateIndex, "the weight of %q must be 1 to %d, and is for text keys", k.Path, maxWeight)
		}
		dir := "1"
		switch {
		case k.Text:
			dir = "text"
		case k.Desc:
			dir = "-1"
		}
		name = append(name, k.Path, dir)
	}
	if x.Name == "" {
		x.Name = strings.Join(name, "_")
	}
	if len(x.Name) > maxIndexName || x.Name == "_id_" || x.Name == "*" || strings.Contains(x.Name, "\x00") {
		return fault.Errorf(fault.CannotCreateIndex, "bad index name %q", x.Name)
	}
	return checkIndexOptions(x)
}

func checkIndexPath(path string) error {
	if strings.Contains(path, "$") {
		return fault.Errorf(fault.CannotCreateIndex, "an index key cannot contain '$': %q", path)
	}
	if _, err := value.ParsePath(path); err != nil {
		return fault.Errorf(fault.CannotCreateIndex, "bad index key %q: %v", path, err)
	}
	if path == "_mod" || strings.HasPrefix(path, "_mod.") {
		return fault.Errorf(fault.CannotCreateIndex, "_mod is no field and cannot be indexed")
	}
	return nil
}

func checkIndexOptions(x *IndexDef) error {
	text := x.Keys[0].Text
	for _, k := range x.Keys {
		if k.Text != text {
			return fault.Errorf(fault.CannotCreateIndex, "a text index has text keys only: %q", k.Path)
		}
	}
	bad := func(format string, args ...any) error {
		return fault.Errorf(fault.CannotCreateIndex, format, args...)
	}
	if text {
		if x.Unique || x.ExpireAfter != nil {
			return bad("a text index cannot be unique or expire documents")
		}
		x.Sparse = false // it has no entries for a document without words
		if x.Language == "" {
			x.Language = "english"
		}
		if !knownLanguage(x.Language) {
			return bad("unsupported language %q of a text index", x.Language)
		}
	} else if x.Language != "" {
		return bad("a language is for text indexes only")
	}
	if d := x.ExpireAfter; d != nil {
		switch {
		case len(x.Keys) > 1:
			return bad("an index that expires documents has one key")
		case x.Keys[0].Path == "_id":
			return bad("the index on _id cannot expire documents")
		case *d < 0 || *d > maxExpire || *d%time.Second != 0:
			return bad("documents expire after 0 to %d whole seconds", math.MaxInt32)
		}
	}
	if x.Partial == nil {
		return nil
	}
	if x.Sparse {
		return bad("an index cannot be both sparse and partial")
	}
	if len(x.Partial) > maxPartial {
		return bad("the filter of a partial index has at most %d bytes", maxPartial)
	}
	if err := value.Validate(x.Partial); err != nil {
		return err
	}
	f, err := query.Compile(x.Partial)
	if err != nil {
		return bad("the filter of a partial index: %w", err)
	}
	return checkPartial(f.Tree(), 0)
}

// partialOps are the operators of a partial index's filter: those whose outcome
// follows from the document's own bytes, and that a planner can reason about.
var partialOps = []query.Op{query.Eq, query.Gt, query.Gte, query.Lt, query.Lte, query.In, "$type", query.Exists}

func checkPartial(t query.Tree, depth int) error {
	bad := func(format string, args ...any) error {
		return fault.Errorf(fault.CannotCreateIndex, "the filter of a partial index cannot "+format, args...)
	}
	for _, term := range t {
		switch {
		case (term.Op == query.And || term.Op == query.Or) && depth < maxPartialDepth:
			for _, b := range term.Branches {
				if err := checkPartial(b, depth+1); err != nil {
					return err
				}
			}
		case term.Op != "":
			return bad("have %s", term.Op)
		case term.Path == "_mod" || strings.HasPrefix(term.Path, "_mod."):
			return bad("depend on _mod")
		}
		for _, o := range term.Operators {
			first := firstKey(o.Arg)
			switch {
			case o.Literal && o.Op == query.Regex:
				return bad("have a regular expression: %q", term.Path)
			case o.Literal && bytes.HasPrefix(first, []byte("$")): // a DBRef
				return bad("have %s: %q", first, term.Path)
			case !slices.Contains(partialOps, o.Op) || o.Op == query.Exists && !truthyOption(o.Arg):
				return bad("have %s: %q", o.Op, term.Path)
			}
		}
	}
	return nil
}

// firstKey returns the name of the first element of a document.
func firstKey(v value.Value) []byte {
	if !v.IsDoc() {
		return nil
	}
	it := value.Elements(v.Data)
	k, _, _ := it.Next()
	return k
}

func truthyOption(v value.Value) bool {
	on, err := BoolOption("", v)
	return err == nil && on
}

// An IndexKey is one field of an index.
type IndexKey struct {
	Path   string
	Desc   bool
	Text   bool // the words of the field
	Weight int  // of the words of this field, 1 to 99,999; 0 means 1
}

// An IndexState says how far an index is.
type IndexState struct {
	Building    bool  // it does not cover all documents yet, so nothing reads it
	Done, Total int64 // documents looked at, and documents of the collection
	Conflicts   int64 // keys of a unique index with several documents
}

// IsIDIndex reports whether x is the index on _id, which is always there.
func IsIDIndex(x IndexDef) bool {
	return len(x.Keys) == 1 && x.Keys[0] == IndexKey{Path: "_id"} && (x.Name == "" || x.Name == "_id_") &&
		!x.Sparse && x.Partial == nil && x.ExpireAfter == nil
}

// NumericPath reports whether a path may name a place in an array.
func NumericPath(keys []IndexKey) bool {
	for _, k := range keys {
		for p := range strings.SplitSeq(k.Path, ".") {
			if value.ParseIndex(p) >= 0 {
				return true
			}
		}
	}
	return false
}
