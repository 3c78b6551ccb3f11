package schema

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weftdb/weft/db/internal/value"
)

// suite returns the folder of the required cases of the JSON Schema Test Suite,
// which is not part of the module: that of WEFT_JSON_SCHEMA_SUITE, else the one
// beside the checkout.
func suite(t *testing.T) string {
	dir, must := os.LookupEnv("WEFT_JSON_SCHEMA_SUITE")
	if !must {
		beside, err := filepath.Glob("../../../../*/suites/json-schema")
		if err != nil {
			t.Fatal(err)
		}
		if len(beside) > 0 {
			dir = beside[0]
		}
	}
	if _, err := os.Stat(dir); err != nil {
		if must {
			t.Fatal(err)
		}
		t.Skip("the JSON Schema Test Suite is not here; name its folder in WEFT_JSON_SCHEMA_SUITE")
	}
	return dir
}

// skipped are cases that cannot be put to a database, with the reason; a case
// here that does not exist, or that passes, fails the test.
var skipped = map[string]string{}

// remotes returns the suite's documents by the addresses that its schemas use.
// Collections have none: compiling them without must then be an error.
func remotes(t *testing.T, dir string) map[string][]byte {
	out := map[string][]byte{}
	root := filepath.Join(dir, "remotes")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		rel, _ := filepath.Rel(root, path)
		if strings.HasPrefix(rel, "draft7") {
			b = []byte(withDraft(t, b, draft7))
		}
		out["http://localhost:1234/"+filepath.ToSlash(rel)] = b
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestSuite(t *testing.T) {
	dir := suite(t)
	docs := remotes(t, dir)
	for draft, uri := range map[string]string{"draft2020-12": draft2020, "draft7": draft7} {
		files, err := filepath.Glob(filepath.Join(dir, "tests", draft, "*.json"))
		if err != nil || len(files) < 30 {
			t.Fatalf("%d files, %v", len(files), err)
		}
		cases, remote, left := 0, 0, map[string]bool{}
		for _, file := range files {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var groups []struct {
				Description string
				Schema      json.RawMessage
				Tests       []struct {
					Description string
					Data        json.RawMessage
					Valid       bool
				}
			}
			if err := json.Unmarshal(b, &groups); err != nil {
				t.Fatal(err)
			}
			for _, g := range groups {
				text := withDraft(t, g.Schema, uri)
				s, err := Compile(text, Options{})
				if err != nil && (strings.Contains(err.Error(), "may not refer") || strings.Contains(err.Error(), "$schema must be")) {
					remote++
					s, err = Compile(text, Options{Documents: docs})
				}
				for _, c := range g.Tests {
					name := strings.Join([]string{draft, strings.TrimSuffix(filepath.Base(file), ".json"), g.Description, c.Description}, "/")
					cases++
					if err != nil {
						t.Errorf("%s: compile: %v", name, err)
						continue
					}
					v, perr := value.ParseJSONValue(c.Data)
					if perr != nil {
						if skipped[name] == "" {
							t.Errorf("%s: the instance cannot be stored: %v", name, perr)
						}
						left[name] = true
						continue
					}
					if got := s.check(v, nil); (got == nil) != c.Valid {
						t.Errorf("%s: got %v, want valid %v", name, got, c.Valid)
					}
				}
			}
		}
		for name := range skipped {
			if strings.HasPrefix(name, draft+"/") && !left[name] {
				t.Errorf("%s is listed as skipped and was not", name)
			}
		}
		t.Logf("%s: %d cases, %d skipped; %d schemas refer to other documents", draft, cases, len(left), remote)
	}
}

// withDraft names the draft in a schema that does not, as the folder of the
// suite implies.
func withDraft(t *testing.T, schema json.RawMessage, uri string) string {
	var obj map[string]json.RawMessage
	if json.Unmarshal(schema, &obj) != nil || obj["$schema"] != nil {
		return string(schema)
	}
	obj["$schema"], _ = json.Marshal(uri)
	out, err := json.Marshal(obj)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}
