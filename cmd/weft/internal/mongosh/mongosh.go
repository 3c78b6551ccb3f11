// Package mongosh reads what people type who come from MongoDB's shell, such as
// db.cities.find({country: 'LI'}).sort({name: 1}), and tells what a shell of Weft calls it.
package mongosh

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"

	"github.com/weftdb/weft/internal/fault"
)

// Methods are what a collection has here, as they are called.
var Methods = []string{
	"aggregate", "countDocuments", "createIndex", "deleteMany", "deleteOne", "distinct", "drop", "dropIndex",
	"estimatedDocumentCount", "find", "findOne", "getIndexes", "insertMany", "insertOne", "replaceOne", "updateMany", "updateOne",
}

// Words returns the words of a shell's line that text stands for, without the database. They
// are nil, with no error, where text is no form of MongoDB's shell. whole is false while a
// bracket is open.
func Words(text string) (words []string, whole bool, err error) {
	text = strings.TrimRight(text, "; \t\r\n")
	fields := strings.Fields(text)
	if len(fields) == 0 {
		return nil, true, nil
	}
	switch first := fields[0]; {
	case text == "db", text == "db.getName()":
		return []string{"db"}, true, nil
	case strings.HasPrefix(first, "//"):
		return []string{}, true, nil
	case first == "show" && len(fields) == 2:
		return shown(fields[1])
	case text == "exit()", text == "quit()":
		return []string{"exit"}, true, nil
	case text == "it":
		return nil, true, fault.Errorf(fault.Usage, "find prints all that it finds: nothing is left for it to go on with")
	case text == "cls":
		return nil, true, fault.Errorf(fault.Usage, "control L clears the screen")
	case slices.Contains([]string{"let", "const", "var", "for", "function", "print", "if"}, first), script.MatchString(text):
		return nil, true, fault.Errorf(fault.Usage, "this shell runs commands, and no JavaScript; help lists them")
	case !strings.HasPrefix(text, "db.") && !strings.HasPrefix(text, "db["):
		return nil, true, nil
	}
	calls, whole, err := chain(text[2:])
	if !whole || err != nil {
		return nil, whole, err
	}
	words, err = meaning(calls)
	return words, true, err
}

// script is what begins a call of JavaScript that is none of a collection.
var script = regexp.MustCompile(`^(print|printjson|load|rs|sh|console)(\.\w+)?\(`)

func shown(what string) ([]string, bool, error) {
	switch what {
	case "dbs", "databases":
		return []string{"db", "ls"}, true, nil
	case "collections", "tables":
		return []string{"collections"}, true, nil
	case "users", "roles":
		return []string{"members"}, true, nil
	}
	return nil, true, fault.Errorf(fault.Usage, "show shows dbs, collections or users; status and info show more of this database")
}

// A call is a name and what is between the brackets behind it.
type call struct {
	name string
	args []string
	made bool // there were brackets
}

// arg returns an argument, the i-th; what is not given is "".
func (c *call) arg(i int) string {
	if i >= len(c.args) {
		return ""
	}
	return c.args[i]
}

// chain reads names and calls with points between them.
func chain(text string) (calls []call, whole bool, err error) {
	for i := 0; i < len(text); {
		var c call
		switch text[i] {
		case '.':
			i++
			continue
		case ' ', '\t', '\n', '\r':
			if i = len(text) - len(strings.TrimLeft(text[i:], " \t\n\r")); i < len(text) && text[i] != '.' {
				return nil, true, fault.Errorf(fault.Usage, "not understood: %.40q", text[i:])
			}
			continue
		case '[': // db['name']
			n := closing(text[i:])
			if n < 0 {
				return nil, false, nil
			}
			calls, i = append(calls, call{name: unquoted(strings.TrimSpace(text[i+1 : i+n-1]))}), i+n
			continue
		}
		n := strings.IndexAny(text[i:], ".([ \t\r\n")
		if n < 0 {
			n = len(text) - i
		}
		c.name, i = text[i:i+n], i+n
		if i < len(text) && text[i] == '(' {
			if n = closing(text[i:]); n < 0 {
				return nil, false, nil
			}
			c.args, c.made, i = divided(text[i+1:i+n-1]), true, i+n
		} else if c.name == "" {
			return nil, true, fault.Errorf(fault.Usage, "not understood: %.40q", text[i:])
		}
		calls = append(calls, c)
	}
	return calls, true, nil
}

// closing returns where the bracket that text begins with is closed, -1 if nowhere.
func closing(text string) int {
	end := -1
	scan(text, func(i int, c byte, depth int) bool {
		if depth == 0 {
			end = i + 1
		}
		return depth > 0
	})
	return end
}

// divided returns the arguments of a call: what is between commas.
func divided(text string) (out []string) {
	from := 0
	scan(text, func(i int, c byte, depth int) bool {
		if c == ',' && depth == 0 {
			out, from = append(out, strings.TrimSpace(text[from:i])), i+1
		}
		return true
	})
	if last := strings.TrimSpace(text[from:]); last != "" {
		out = append(out, last)
	}
	return out
}

// scan calls f with each byte outside of quotes and how many brackets are open behind it,
// until f returns false.
func scan(text string, f func(i int, c byte, depth int) bool) {
	depth, quote := 0, byte(0)
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case quote != 0 && c == '\\':
			i++
			continue
		case quote != 0:
			if c == quote {
				quote = 0
			}
			continue
		case c == '"', c == '\'', c == '`':
			quote = c
			continue
		case c == '{', c == '[', c == '(':
			depth++
		case c == '}', c == ']', c == ')':
			depth--
		}
		if !f(i, c, depth) {
			return
		}
	}
}

// unquoted returns a name without the quotes around it.
func unquoted(text string) string {
	if n := len(text); n > 1 && strings.IndexByte("'\"`", text[0]) >= 0 && text[n-1] == text[0] {
		return text[1 : n-1]
	}
	return text
}

// meaning tells a chain of calls, which begins behind db, in words.
func meaning(calls []call) ([]string, error) {
	if len(calls) == 0 {
		return nil, fault.Errorf(fault.Usage, "what is to be done with db? db.NAME.find() prints the documents of a collection")
	}
	if calls[0].made {
		switch c := calls[0]; c.name {
		case "getCollection":
			calls = append([]call{{name: unquoted(c.arg(0))}}, calls[1:]...)
		case "getCollectionNames", "getCollectionInfos":
			return []string{"collections"}, nil
		case "createCollection":
			return []string{"collection", "create", unquoted(c.arg(0))}, noMore(c.args, 1, "collection create NAME takes --schema and --rules")
		case "runCommand":
			return []string{"run", c.arg(0)}, noMore(c.args, 1, "a command is one document")
		case "stats":
			return []string{"info"}, nil
		case "getSiblingDB":
			return nil, fault.Errorf(fault.Usage, "type use NAME for another database")
		case "dropDatabase":
			return nil, fault.Errorf(fault.Usage, "a database is removed by weft db rm NAME, outside of its shell")
		default:
			return nil, fault.Errorf(fault.Usage, "db.%.40s is not there; help lists the commands", c.name)
		}
	}
	// A name of a collection may have points in it.
	var name []string
	for len(calls) > 0 && !calls[0].made {
		name, calls = append(name, calls[0].name), calls[1:]
	}
	coll := strings.Join(name, ".")
	if len(calls) == 0 {
		return nil, fault.Errorf(fault.Usage, "what is to be done with %.60s? db.%[1]s.find() prints its documents", coll)
	}
	c, rest := calls[0], calls[1:]
	switch c.name {
	case "find", "findOne":
		return find(coll, c, rest)
	case "aggregate":
		return aggregate(coll, c, rest)
	}
	words, err := one(coll, c)
	for _, r := range rest {
		if err == nil && r.name != "toArray" && r.name != "pretty" {
			err = fault.Errorf(fault.Usage, "nothing goes on behind %s here: .%.40s is too much", c.name, r.name)
		}
	}
	return words, err
}

// noMore is the error for more arguments than n.
func noMore(args []string, n int, why string) error {
	if len(args) > n {
		return fault.Errorf(fault.Usage, "too many arguments: %s", why)
	}
	return nil
}

// filter is a filter as a command takes it, which needs one.
func filter(text string) string {
	if text == "" {
		return "{}"
	}
	return text
}

func find(coll string, c call, rest []call) ([]string, error) {
	words, count := []string{"find", coll, filter(c.arg(0))}, false
	if p := c.arg(1); p != "" {
		words = append(words, "--projection="+p)
	}
	if c.name == "findOne" {
		words = append(words, "--limit=1")
	}
	for _, r := range rest {
		switch r.name {
		case "sort", "limit", "skip", "hint", "projection":
			words = append(words, "--"+r.name+"="+unquoted(r.arg(0)))
		case "project":
			words = append(words, "--projection="+r.arg(0))
		case "explain":
			words = append(words, "--explain")
		case "count", "size", "itcount":
			count = true
		case "toArray", "pretty", "batchSize", "next":
		default:
			return nil, fault.Errorf(fault.Usage, "behind find go sort, limit, skip, project, hint, count and explain, not %.40s", r.name)
		}
	}
	if count && len(words) > 3 {
		return nil, fault.Errorf(fault.Usage, "count goes behind find alone: write db.NAME.countDocuments(FILTER)")
	}
	if count {
		words[0] = "count"
	}
	return words, noMore(c.args, 2, "find takes a filter and a projection; sort, limit and skip go behind it")
}

func aggregate(coll string, c call, rest []call) ([]string, error) {
	pipeline := c.arg(0)
	if !strings.HasPrefix(pipeline, "[") {
		pipeline = "[" + strings.Join(c.args, ", ") + "]"
	}
	words := []string{"aggregate", coll, pipeline}
	for _, r := range rest {
		switch r.name {
		case "explain":
			words = append(words, "--explain")
		case "toArray", "pretty":
		default:
			return nil, fault.Errorf(fault.Usage, "behind aggregate goes explain, not %.40s: write a stage", r.name)
		}
	}
	if strings.HasPrefix(c.arg(0), "[") {
		return words, noMore(c.args, 1, "a pipeline with options is {aggregate: NAME, pipeline: […], cursor: {}, …}")
	}
	return words, nil
}

// upsert is the one option of a change that has a flag.
var upsert = regexp.MustCompile(`^\{\s*['"]?upsert['"]?\s*:\s*(true|false)\s*,?\s*\}$`)

// one tells a call on a collection behind which nothing goes.
func one(coll string, c call) ([]string, error) {
	name, _ := json.Marshal(coll) // a string has a text
	doc := func(parts ...string) []string { return []string{"run", strings.Join(parts, "")} }
	switch c.name {
	case "insert", "insertOne", "insertMany":
		return []string{"insert", coll, c.arg(0)}, noMore(c.args, 1, "documents with options are {insert: NAME, documents: […], …}")
	case "updateOne", "updateMany", "replaceOne":
		words := []string{"update", coll, filter(c.arg(0)), c.arg(1)}
		if c.name == "replaceOne" {
			words[0] = "replace"
		}
		if c.name == "updateMany" {
			words = append(words, "--many")
		}
		switch option := upsert.FindStringSubmatch(c.arg(2)); {
		case c.arg(2) == "":
		case option != nil:
			words = append(words, "--upsert="+option[1])
		case words[0] == "update":
			many := map[bool]string{true: "true", false: "false"}[c.name == "updateMany"]
			return doc("{update: ", string(name), ", updates: [{q: ", words[2], ", u: ", words[3], ", multi: ", many, inner(c.arg(2)), "}]}"), noMore(c.args, 3, "a filter, an update and options")
		default:
			return nil, fault.Errorf(fault.Usage, "replaceOne takes the option upsert only")
		}
		return words, noMore(c.args, 3, "a filter, an update and options")
	case "deleteOne", "deleteMany", "remove":
		words := []string{"delete", coll, c.arg(0)}
		if c.name != "deleteOne" {
			words = append(words, "--many")
		}
		return words, noMore(c.args, 1, "deletes with options are {delete: NAME, deletes: [{q: …, limit: 1, …}]}")
	case "count", "countDocuments", "estimatedDocumentCount":
		return []string{"count", coll, filter(c.arg(0))}, noMore(c.args, 1, "a count with options is {count: NAME, query: …, …}")
	case "distinct":
		return []string{"distinct", coll, unquoted(c.arg(0)), filter(c.arg(1))}, noMore(c.args, 2, "distinct takes a field and a filter")
	case "createIndex":
		return doc("{createIndexes: ", string(name), ", indexes: [{key: ", c.arg(0), inner(c.arg(1)), "}]}"), noMore(c.args, 2, "createIndex takes keys and options")
	case "getIndexes":
		return []string{"indexes", coll}, nil
	case "dropIndex":
		if strings.HasPrefix(c.arg(0), "{") {
			return doc("{dropIndexes: ", string(name), ", index: ", c.arg(0), "}"), nil
		}
		return []string{"index", "rm", coll, unquoted(c.arg(0))}, noMore(c.args, 1, "dropIndex takes a name")
	case "drop":
		return []string{"collection", "rm", coll}, nil
	case "findOneAndUpdate", "findOneAndReplace", "findOneAndDelete", "findAndModify":
		return nil, fault.Errorf(fault.Usage, "type {findAndModify: %s, query: …, update: …, new: true}, or remove: true in place of the update", name)
	case "bulkWrite":
		return nil, fault.Errorf(fault.Usage, "type {insert: …}, {update: %s, updates: [{q: …, u: …}, …]} and {delete: …}", name)
	case "watch":
		return nil, fault.Errorf(fault.Usage, "type watch %s", coll)
	case "stats", "dataSize", "storageSize":
		return nil, fault.Errorf(fault.Usage, "type info, or count %s", coll)
	}
	return nil, fault.Errorf(fault.Usage, "a collection has no %.40s here: %s", c.name, strings.Join(Methods, ", "))
}

// inner returns the fields of a document's text, behind a comma.
func inner(doc string) string {
	doc = strings.TrimSuffix(strings.TrimPrefix(doc, "{"), "}")
	if doc = strings.TrimSpace(doc); doc == "" {
		return ""
	}
	return ", " + doc
}
