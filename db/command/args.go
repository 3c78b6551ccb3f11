package command

import (
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/payload"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
)

// An argKind says what a field of a command may be. The rows of the table name fields that
// are not supported, too: drivers send them with their defaults, which are let pass, and a
// value that would mean something is refused instead of ignored.
type argKind int

const (
	anyArg argKind = iota
	docArg
	textArg
	nameArg   // of a collection
	scopeArg  // the name of a collection; "" or the number 1 for all or none
	boolArg   // or a number
	countArg  // a whole number, not below 0
	numberArg // a whole number
	offArg    // refused if it is true
	noArg     // refused
)

// Fields that commands of drivers carry. They are checked for their type and most are then
// ignored: there is one node, so a read preference, a cluster time or a write concern has
// nothing to choose. What is acted on is lsid, txnNumber, autocommit, startTransaction and
// maxTimeMS.
var commonFields = map[string]argKind{
	"$db": anyArg, "$readPreference": anyArg, "$clusterTime": anyArg, "lsid": docArg, "txnNumber": numberArg,
	"autocommit": anyArg, "startTransaction": anyArg, "apiVersion": anyArg, "apiStrict": anyArg,
	"apiDeprecationErrors": anyArg, "comment": anyArg, "readConcern": docArg, "writeConcern": docArg, "maxTimeMS": countArg,
}

// The fields of parts of commands.
var (
	updateFields = map[string]argKind{
		"q": docArg, "u": anyArg, "multi": boolArg, "upsert": boolArg, "arrayFilters": anyArg, "c": noArg, "collation": noArg,
		"hint": noArg, "sort": noArg,
	}
	deleteFields = map[string]argKind{"q": docArg, "limit": countArg, "collation": noArg, "hint": noArg}
	cursorFields = map[string]argKind{"batchSize": countArg}
)

// check checks the fields of a command, which its first names as it is written; what is not
// known is an error. The first field is compared by the table without regard to case but
// looked up as it is written, because its value is in cmd under that spelling. Other fields
// are matched exactly, as in MongoDB. Nothing was read or changed when it returns an error.
func (c *spec) check(written string, cmd bson.Raw) error {
	if err := checkArg(written, c.first, value.Get(cmd, written)); err != nil {
		return err
	}
	it := value.Elements(cmd)
	it.Next()
	if err := checkArgs(written, it, c.args, commonFields); err != nil {
		return err
	}
	if cur := value.Get(cmd, "cursor"); cur.IsDoc() {
		return checkArgs(written+".cursor", value.Elements(cur.Data), cursorFields)
	}
	return nil
}

// checkArgs checks the fields that follow in it. The maps are looked at in turn, so a
// command can name a common field with a kind of its own. where is the path that the error
// names: command.field, or command.array.field for a statement.
func checkArgs(where string, it value.Iter, known ...map[string]argKind) error {
	for k, v, ok := it.Next(); ok; k, v, ok = it.Next() {
		kind, found := argKind(0), false
		for _, kinds := range known {
			if kind, found = kinds[string(k)]; found {
				break
			}
		}
		if !found {
			return fault.Errorf(fault.FailedToParse, "BSON field '%s.%s' is an unknown field.", where, k)
		}
		if err := checkArg(where+"."+string(k), kind, v); err != nil {
			return err
		}
	}
	return nil
}

// checkArg refuses a field that is not of its kind, in MongoDB's words. noArg lets pass
// what means what happens without the field: an empty document, and the collation simple.
// offArg lets pass whatever is not true. Names of collections are checked here, so that no
// command has to; scopeArg also takes the number 1, which MongoDB's commands on a whole
// database have there.
func checkArg(name string, kind argKind, v value.Value) error {
	n, isWhole := whole(v)
	simple := v.IsDoc() && string(value.Get(v.Data, "locale").Str()) == "simple"
	empty := v.IsDoc() && len(v.Data) <= 5
	good, want := true, ""
	switch kind {
	case docArg:
		good, want = v.IsDoc() || v.Type == bson.TypeNull, "a document"
	case textArg:
		good, want = v.Type == bson.TypeString, "a string"
	case nameArg:
		if v.Type == bson.TypeString {
			return payload.CheckName(string(v.Str()))
		}
		return fault.Errorf(fault.InvalidNamespace, "%s: the name of a collection must be a string", name)
	case scopeArg:
		if len(v.Str()) > 0 {
			return payload.CheckName(string(v.Str()))
		}
		good, want = v.Type == bson.TypeString || isWhole && n == 1, "the name of a collection, or 1"
	case boolArg:
		good, want = v.Type == bson.TypeBoolean || v.IsNumber(), "a boolean"
	case countArg, numberArg:
		if good, want = isWhole, "a whole number"; good && kind == countArg && n < 0 {
			return fault.Errorf(fault.BadValue, "BSON field '%s' value must be >= 0, actual value '%d'", name, n)
		}
	case offArg, noArg:
		if truthy(v) || kind == noArg && !simple && !empty {
			return fault.Errorf(fault.CommandNotSupported, "%s is not supported", name)
		}
	}
	if !good {
		return fault.Errorf(fault.TypeMismatch, "BSON field '%s' must be %s", name, want)
	}
	return nil
}

// whole returns a number that is exactly an int64.
func whole(v value.Value) (int64, bool) {
	n, ok := v.Raw().AsInt64OK()
	return n, ok && v.IsNumber() && value.Equal(v, value.Int64(n))
}

// truthy reads a boolean, or a number as drivers and shells write it: all but 0
// are true.
func truthy(v value.Value) bool {
	return v.Bool() || v.IsNumber() && !value.Equal(v, value.Int32(0))
}

// onlyFields refuses fields of a form of a command that has no others but these. collMod is
// several commands in one, by the field that is there: a field of another form beside it
// would be ignored without a word. The first of known names the form.
func onlyFields(cmd bson.Raw, known ...string) error {
	it := value.Elements(cmd)
	it.Next()
	for k, _, ok := it.Next(); ok; k, _, ok = it.Next() {
		if _, common := commonFields[string(k)]; !common && !slices.Contains(known, string(k)) {
			return fault.Errorf(fault.InvalidOptions, "%s goes with no field '%s'", known[0], k)
		}
	}
	return nil
}
