package db_test

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/db/internal/journal"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/clock"
)

// A semanticsCase is operations, one record each, and what they give. What replicas must
// agree on also rests on libraries: Unicode's tables and regular expressions of Go, CEL, a
// parser of schemas, decimals. If one of them changes a verdict or a value, the case fails.
//
// A failure is not mended by writing the file again (WEFT_SEMANTICS=write): replicas of
// before would have other states. docs/design/db.md says what to do.
type semanticsCase struct {
	Name    string            `json:"name"`
	Ops     []semanticsOp     `json:"ops"`
	Docs    []json.RawMessage `json:"documents"` // canonical Extended JSON, by _id
	Refused []string          `json:"refused"`   // number of the operation, reason
	Hash    string            `json:"hash"`
}

type semanticsOp struct {
	Op     string          `json:"op"`
	C      string          `json:"c"`
	ID     json.RawMessage `json:"id,omitempty"` // of an insert, its document has it
	Q      json.RawMessage `json:"q,omitempty"`
	U      json.RawMessage `json:"u,omitempty"`
	Doc    json.RawMessage `json:"doc,omitempty"`
	Upsert bool            `json:"upsert,omitempty"`
}

const semanticsFile = "testdata/semantics.jsonl"

func TestSemantics(t *testing.T) {
	f, err := os.Open(semanticsFile)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var written bytes.Buffer
	n := 0
	lines := bufio.NewScanner(f)
	for lines.Buffer(nil, 1<<20); lines.Scan(); n++ {
		var c semanticsCase
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			t.Fatalf("line %d: %v", n+1, err)
		}
		t.Run(c.Name, func(t *testing.T) {
			got := c.judged(t)
			line, err := json.Marshal(got)
			if err != nil {
				t.Fatal(err)
			}
			written.Write(append(line, '\n'))
			if os.Getenv("WEFT_SEMANTICS") == "write" {
				return
			}
			if want, _ := json.Marshal(c); !bytes.Equal(line, want) {
				t.Errorf("got\n%s\nwant\n%s", line, want)
			}
		})
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	if n < 70 {
		t.Errorf("%d cases", n)
	}
	if os.Getenv("WEFT_SEMANTICS") == "write" {
		if err := os.WriteFile(semanticsFile, written.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// judged returns the case with what its operations give.
func (c semanticsCase) judged(t *testing.T) semanticsCase {
	var es []journal.Entry
	for i, o := range c.Ops {
		at := clock.Time(1_700_000_000_000+int64(i)*1000) << 16
		e := journal.Entry{Time: at, Writer: "did:key:w", Role: "writer", Payload: db.Encode([]db.Op{o.encoded(t)})}
		e.ID = clock.RecordID{Log: clock.LogID{1}, Seq: uint64(i + 1), Hash: clock.Hash{byte(i), 1}}
		es = append(es, e)
	}
	hash, out := db.Reference(es)
	c.Hash, c.Docs, c.Refused = hash.String(), nil, nil
	for i := range es {
		rec := journal.Decode(&journal.Arrival{Entry: es[i]})
		if why, ok := out[fmt.Sprintf("refused %v", journal.Stamp(rec, 0))]; ok {
			c.Refused = append(c.Refused, fmt.Sprintf("%d %s", i, why))
		}
	}
	for _, k := range slices.Sorted(maps.Keys(out)) {
		if strings.HasPrefix(k, "refused ") {
			continue
		}
		text, _, _ := strings.Cut(out[k], " ")
		if doc, err := hex.DecodeString(text); err == nil && len(doc) > 0 {
			c.Docs = append(c.Docs, value.AppendJSON(nil, doc, true))
		}
	}
	return c
}

func (o semanticsOp) encoded(t *testing.T) db.Op {
	kind := slices.Index([]string{"", "insert", "update", "replace", "delete"}, o.Op)
	if kind < 1 {
		t.Fatalf("operation %q", o.Op)
	}
	parse := func(b json.RawMessage) []byte {
		if b == nil {
			return nil
		}
		v, err := value.ParseJSONValue(b)
		if err != nil {
			t.Fatalf("%s: %v", b, err)
		}
		return v.Data
	}
	body := o.U
	if kind == 1 {
		body = o.Doc
	}
	doc := parse(body)
	var id value.Value
	if kind == 1 {
		id = value.Get(bson.Raw(doc), "_id")
	} else {
		v, err := value.ParseJSONValue(o.ID)
		if err != nil {
			t.Fatalf("%s: %v", o.ID, err)
		}
		id = v
	}
	return db.NewOp(kind, o.C, id, parse(o.Q), doc, o.Upsert)
}
