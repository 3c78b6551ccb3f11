package db_test

import (
	"fmt"
	"testing"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/db/internal/value"
)

// Definitions of any bytes: one that can be in force, or an error, always the
// same.
func FuzzDefinition(f *testing.F) {
	for _, law := range lawful {
		for _, e := range law {
			if fields, ok := e.Value.(bsonD); ok {
				f.Add([]byte(value.AppendJSON(nil, raw(f, fields), true)))
			}
		}
	}
	f.Add([]byte(`{"_id":"a","version":3,"steps":[{"version":2,"steps":"[{\"drop\":{\"path\":\"a\"}}]"}],"indexes":[]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		doc, err := db.ParseJSON(text)
		if err != nil {
			return
		}
		first := fmt.Sprint(db.CheckDefinition(doc))
		if again := fmt.Sprint(db.CheckDefinition(doc)); again != first {
			t.Fatalf("%s, then %s", first, again)
		}
	})
}

// Steps of any text, on any document: an outcome that doing it again does not
// change, or an error.
func FuzzSteps(f *testing.F) {
	f.Add(`[{"rename":{"from":"a","to":"b.c"}},{"default":{"path":"d","value":[1]}},{"drop":{"path":"e"}}]`, `{"a":1,"e":{"x":2}}`)
	f.Add(`[{"transform":{"path":"n","to":"double"}},{"transform":{"where":{"v":1},"update":{"$set":{"v":2}}}}]`, `{"n":"1e3","v":1}`)
	f.Fuzz(func(t *testing.T, steps, doc string) {
		once, err := db.Steps(steps, doc)
		if err != nil {
			return
		}
		if again, err := db.Steps(steps, doc); err != nil || again != once {
			t.Fatalf("%s, then %s, %v", once, again, err)
		}
	})
}
