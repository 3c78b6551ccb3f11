package mongosh

import (
	"strings"
	"testing"

	"github.com/weftdb/weft/internal/fault"
)

// What a line of MongoDB's shell stands for; a vertical bar divides the words.
func TestWords(t *testing.T) {
	for text, want := range map[string]string{
		"db":                                 "db",
		"show dbs;":                          "db|ls",
		"show collections":                   "collections",
		"quit()":                             "exit",
		"db.getCollectionNames()":            "collections",
		"db.stats()":                         "info",
		`db.createCollection("cities")`:      "collection|create|cities",
		"db.runCommand({ping: 1})":           "run|{ping: 1}",
		"db.cities.find()":                   "find|cities|{}",
		"db.cities.findOne({_id: 1});":       "find|cities|{_id: 1}|--limit=1",
		"db.cities.find().count()":           "count|cities|{}",
		"db.a.b.find({}, {n: 1}).pretty()":   "find|a.b|{}|--projection={n: 1}",
		"db['a b'].find ({})":                "",
		`db["a-b"].countDocuments({a: ")"})`: `count|a-b|{a: ")"}`,
		`db.getCollection('c').drop()`:       "collection|rm|c",
		"db.c.find({a: '\\'(,'})\n  .sort({a: -1, b: 1}).skip(2).limit(3).hint('a_1').explain()": "find|c|{a: '\\'(,'}|--sort={a: -1, b: 1}|--skip=2|--limit=3|--hint=a_1|--explain",
		"db.c.insertMany([{a: [1, 2]}, {b: 3}])":                                                 "insert|c|[{a: [1, 2]}, {b: 3}]",
		"db.c.updateOne({a: 1}, {$set: {b: 2}})":                                                 "update|c|{a: 1}|{$set: {b: 2}}",
		"db.c.updateMany({}, [{$set: {b: 2}}], {'upsert': true})":                                "update|c|{}|[{$set: {b: 2}}]|--many|--upsert=true",
		"db.c.updateOne({}, {$set: {'b.$[x]': 2}}, {arrayFilters: [{x: 1}]})":                    `run|{update: "c", updates: [{q: {}, u: {$set: {'b.$[x]': 2}}, multi: false, arrayFilters: [{x: 1}]}]}`,
		"db.c.replaceOne({_id: 1}, {a: 1}, {upsert: true})":                                      "replace|c|{_id: 1}|{a: 1}|--upsert=true",
		"db.c.deleteOne({a: 1})":                                                                 "delete|c|{a: 1}",
		"db.c.deleteMany({a: 1})":                                                                "delete|c|{a: 1}|--many",
		"db.c.distinct('a', {b: 1})":                                                             "distinct|c|a|{b: 1}",
		"db.c.aggregate([{$match: {a: 1}}, {$count: 'n'}]).toArray()":                            "aggregate|c|[{$match: {a: 1}}, {$count: 'n'}]",
		"db.c.aggregate({$match: {a: 1}}, {$count: 'n'})":                                        "aggregate|c|[{$match: {a: 1}}, {$count: 'n'}]",
		"db.c.createIndex({a: 1, b: -1}, {unique: true})":                                        `run|{createIndexes: "c", indexes: [{key: {a: 1, b: -1}, unique: true}]}`,
		"db.c.createIndex({a: 1}, {})":                                                           `run|{createIndexes: "c", indexes: [{key: {a: 1}}]}`,
		"db.c.getIndexes()":                                                                      "indexes|c",
		"db.c.dropIndex('a_1')":                                                                  "index|rm|c|a_1",
		"db.c.dropIndex({a: 1})":                                                                 `run|{dropIndexes: "c", index: {a: 1}}`,
		"db.c.deleteMany()":                                                                      "delete|c||--many", // which is refused: no filter
		"// a remark":                                                                            "",
	} {
		got, whole, err := Words(text)
		if text == "db['a b'].find ({})" {
			if !fault.Is(err, fault.Usage) {
				t.Errorf("%s: got %q, %v", text, got, err)
			}
			continue
		}
		if err != nil || !whole || got == nil || strings.Join(got, "|") != want {
			t.Errorf("%s: got %q, %v, %v, want %q", text, got, whole, err, want)
		}
	}
}

// What is no such line is the shell's own; one that is open goes on.
func TestOthers(t *testing.T) {
	for _, text := range []string{"", "find cities {a: 1}", "db ls", "db create x", "use other", "{ping: 1}", "show", "dbx.find()"} {
		if got, whole, err := Words(text); got != nil || !whole || err != nil {
			t.Errorf("%q: got %q, %v, %v", text, got, whole, err)
		}
	}
	for _, text := range []string{"db.c.find(", "db.c.find({a: 1}", "db.c.insertOne({\n", `db.c.find({a: ")"`, "db['c'"} {
		if got, whole, err := Words(text); got != nil || whole || err != nil {
			t.Errorf("%q: got %q, %v, %v", text, got, whole, err)
		}
	}
}

// What is not there is an error of one line that says what to type, and never another command.
func TestMissing(t *testing.T) {
	for text, says := range map[string]string{
		"it":                             "prints all",
		"cls":                            "control L",
		"show profile":                   "shows dbs",
		"let x = 1":                      "no JavaScript",
		"rs.status()":                    "no JavaScript",
		"db.":                            "db.NAME.find()",
		"db.c":                           "db.c.find()",
		"db.c.find().forEach(printjson)": "not forEach",
		"db.c.find({}).limit(1).count()": "countDocuments",
		"db.c.find({}, {}, {})":          "too many arguments",
		"db.c.aggregate([], {allowDiskUse: true})": "options",
		"db.c.insertOne({}, {w: 1})":               "options",
		"db.c.deleteMany({}, {hint: 1})":           "options",
		"db.c.insertOne({}).toArray().map(f)":      "nothing goes on",
		"db.c.findOneAndUpdate({}, {})":            "findAndModify",
		"db.c.bulkWrite([])":                       "update",
		"db.c.watch()":                             "watch c",
		"db.c.mapReduce()":                         "updateOne",
		"db.dropDatabase()":                        "weft db rm",
		"db.getSiblingDB('x').c.find()":            "use NAME",
		"db.frob()":                                "help",
		"db.c.find({a: 1}) junk":                   "junk",
		"db.c.find({a: 1}) )":                      "not understood",
	} {
		got, whole, err := Words(text)
		if !whole || !fault.Is(err, fault.Usage) || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: got %q, %v, %v, want an error with %q", text, got, whole, err, says)
		}
	}
}

// Whatever is typed comes to an end.
func FuzzWords(f *testing.F) {
	for _, text := range []string{"db.c.find({a: 1}).sort({a: 1})", "db['a'](", "db.)(", "db.c.find(']", "db.\t.", "show x", "db.é.find(`"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if words, whole, err := Words(text); words != nil && !whole || !whole && err != nil {
			t.Errorf("%q: got %q, %v, %v", text, words, whole, err)
		}
	})
}
