package docs

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/weftdb/weft/internal/fault"
)

// A told message is a sentence of an error and where it is made.
type told struct {
	kind fault.Kind
	text string
}

// advice is what people do about errors of a kind; those of the query language share one.
var advice = map[fault.Kind]string{
	fault.Usage:            "Correct the command line; `--help` has examples.",
	fault.InvalidArgument:  "Correct the value that the message names.",
	fault.InvalidName:      "Choose another name; the message says what one may have.",
	fault.InvalidPath:      "Name a file where a file is wanted, and a folder where a folder is.",
	fault.NotFound:         "Check the name; the `ls` of its command lists what there is.",
	fault.AlreadyExists:    "Use what is there, or choose another name.",
	fault.Ambiguous:        "Give more of the name.",
	fault.Conflict:         "Try again: somebody else changed it meanwhile.",
	fault.OutOfRange:       "Choose a value within the range that the message names.",
	fault.TooLarge:         "Divide it, or make it smaller; the message says how much there can be.",
	fault.Malformed:        "Take the original once more; what came cannot be read.",
	fault.UnknownVersion:   "Use the release that wrote it, or export with that and import.",
	fault.NewerHome:        "Use a newer release.",
	fault.Corrupt:          "Run `weft doctor`, and `weft doctor --repair`; restore a backup if that lacks something.",
	fault.DiskFull:         "Make room on the disk; writes go on by themselves.",
	fault.PermissionDenied: "Ask an owner for the right, or use the file's owner.",
	fault.Closed:           "Start the node again, and repeat what was not acknowledged.",
	fault.Timeout:          "Try again, with a longer `--timeout` where there is one.",
	fault.Canceled:         "Repeat the command if it was ended by mistake.",
	fault.Unreachable:      "Check the address, and that the peer runs and can be reached.",
	fault.Unavailable:      "Start the daemon with `weft daemon`, or leave `--api` and `WEFT_API` out.",
	fault.HomeInUse:        "Wait for the other process, end it, or choose another `--home`.",
	fault.AddressInUse:     "Choose another address or port, or end what has it.",
	fault.BadBackup:        "Use another backup; this one is damaged or no backup.",
	fault.CutShort:         "Take the file once more; its end is missing.",
	fault.ClockAhead:       "Set the clock of the device that wrote it.",
	fault.FileMode:         "Let only its owner read the file: `chmod 600 FILE`.",
	fault.Internal:         "It is a fault of Weft, or of the system below: the message says what failed. Report it.",
	fault.PassphraseNeeded: "Set `WEFT_PASSPHRASE`, or run the command in a terminal.",
	fault.PassphraseWrong:  "Give the passphrase with which it was sealed.",

	fault.DuplicateKey: "Choose another value, or update the document that has it.",
	fault.NoMatch:      "Nothing, if the document was to be gone; else find out who changed it.",
	fault.Schema:       "Correct the document, or change the schema with `weft collection update`.",
	fault.Rule:         "Ask somebody whom the rules of the collection allow it.",
}

// Advice for whole groups of kinds.
const (
	adviceOfPeers    = "Check the key, its scopes and the membership with who runs the relay or owns the database."
	adviceOfLanguage = "Correct the query, update or pipeline: the message names the part."
)

// twice are the messages of which the kind tells more than the sentence: who made what is
// wrong, or whether it is of the wrong type or only the wrong value.
var twice = map[string]bool{
	"a collection has at most … indexes": true, "the count field must be a non-empty string": true, "… holds no store": true,
	"skip and limit cannot be negative": true, "the sender's certificate: …": true, "blob of … bytes": true,
	"a compressed piece says … bytes, and its frame …": true, "genesis: …": true, "join: …": true,
}

// general are sentences that stand where no name is known, and parts of others.
var general = map[string]bool{"already exists": true, "denied by a rule": true}

// What people can meet is listed by docs/messages.md, which this test writes with
// WEFT_UPDATE=1. No message is there for two kinds, and none names a package or an address
// inside of the program.
func TestMessages(t *testing.T) {
	all := messages(t)
	kinds := map[string]fault.Kind{}
	internal := regexp.MustCompile(`\b(net|db|node|internal)/[a-z]|fault\.|https?://localhost|\bpackage [a-z]+\b|weft\.v1`)
	for _, m := range all {
		if other, ok := kinds[m.text]; ok && other != m.kind && !twice[m.text] {
			t.Errorf("%q is said for %s and for %s", m.text, other, m.kind)
		}
		kinds[m.text] = m.kind
		if internal.MatchString(m.text) {
			t.Errorf("%q names what is inside", m.text)
		}
	}
	alike(t, all)
	page := render(all)
	if os.Getenv("WEFT_UPDATE") != "" {
		if err := os.WriteFile("messages.md", page, 0o644); err != nil { //nolint:gosec // a page for everybody
			t.Fatal(err)
		}
	}
	has, err := os.ReadFile("messages.md")
	if err != nil || string(has) != string(page) {
		t.Errorf("docs/messages.md is not what the code says, %v: WEFT_UPDATE=1 go test ./docs", err)
	}
}

// alike fails if two messages of a kind say the same in other words: articles, what stands for
// names, order and case apart. Those of the query language are MongoDB's, word for word.
func alike(t *testing.T, all []told) {
	t.Helper()
	small := regexp.MustCompile(`^(a|an|the|of|is|are|it|its|to|in|has|be|was|by|and|or|this|that)$`)
	word := regexp.MustCompile(`[a-z0-9$-]+`)
	detail := regexp.MustCompile(`:? ?(…|\(…\))$`) // one sentence, with and without
	language := fault.Kinds()[slices.Index(fault.Kinds(), fault.DuplicateKey):]
	said := map[string]string{}
	for _, m := range all {
		if general[m.text] || slices.Contains(language, m.kind) && advice[m.kind] == "" {
			continue
		}
		text := detail.ReplaceAllString(m.text, "")
		words := word.FindAllString(strings.ToLower(text), -1)
		words = slices.DeleteFunc(words, small.MatchString)
		slices.Sort(words)
		key := string(m.kind) + ": " + strings.Join(slices.Compact(words), " ")
		if other, ok := said[key]; ok && other != text && len(words) > 0 {
			t.Errorf("%s: %q and %q say one thing", m.kind, other, text)
		}
		said[key] = text
	}
}

func render(all []told) []byte {
	var b strings.Builder
	b.WriteString("# Messages\n\nWhat Weft can tell people, by the word of its kind, which `--json`, the API and programs have as\n`code`. " +
		"An ellipsis stands for a name or a value. This page is generated from the code.\n")
	for _, kind := range fault.Kinds() {
		var texts []string
		for _, m := range all {
			if m.kind == kind {
				texts = append(texts, m.text)
			}
		}
		slices.Sort(texts)
		if texts = slices.Compact(texts); len(texts) == 0 {
			continue
		}
		what := advice[kind]
		if what == "" && slices.Contains(fault.Kinds()[slices.Index(fault.Kinds(), fault.DuplicateKey):], kind) {
			what = adviceOfLanguage
		}
		if what == "" {
			what = adviceOfPeers
		}
		fmt.Fprintf(&b, "\n## `%s`\n\n%s\n\n| message |\n|---|\n", kind, what)
		for _, text := range texts {
			fmt.Fprintf(&b, "| %s |\n", strings.NewReplacer("|", `\|`, "<", "&lt;", "\n", " ", "[", `\[`, "*", `\*`, "_", `\_`, "`", "'").Replace(text))
		}
	}
	return []byte(b.String())
}

// messages reads the sentences of all errors out of the code.
func messages(t *testing.T) (out []told) {
	t.Helper()
	var files []*ast.File
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() && (name == "testdata" || name == "stress" || name == "demo" || name == "dbtest" || name == "storetest" || name == "model" ||
			strings.HasPrefix(name, ".") && name != "..") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") || strings.HasSuffix(name, ".pb.go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		files = append(files, f)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	kinds := constants()
	sentinels, roots := sentinelsOf(files, kinds)
	bare := bareOf(files, roots)
	for _, f := range files {
		pkg := f.Name.Name
		ast.Inspect(f, func(n ast.Node) bool {
			if v, ok := n.(*ast.ValueSpec); ok && len(v.Names) == 1 && len(v.Values) == 1 {
				key := qualified(pkg, v.Names[0].Name)
				if call, ok := v.Values[0].(*ast.CallExpr); ok && name(call.Fun) == "fault.New" && !bare[key] {
					return false // what people meet says more
				}
			}
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) == 0 {
				return true
			}
			var kind fault.Kind
			text := ""
			switch name(call.Fun) {
			case "fault.Errorf", "fault.New", "Errorf", "New":
				if len(call.Args) < 2 {
					return true
				}
				kind, text = kinds[strings.TrimPrefix(name(call.Args[0]), "fault.")], sentence(call.Args[1])
			case "fault.Of":
				kind, text = sentinels[qualified(pkg, name(call.Args[0]))], sentence(call.Args[1])
			case "usagef":
				kind, text = fault.Usage, sentence(call.Args[0])
			default:
				return true
			}
			if kind != "" && strings.Trim(text, "… :") != "" {
				out = append(out, told{kind, text})
			}
			return true
		})
	}
	if len(out) < 500 {
		t.Fatalf("only %d messages were found", len(out))
	}
	return out
}

// constants are the kinds by the names of their constants.
func constants() map[string]fault.Kind {
	out := map[string]fault.Kind{}
	f, err := parser.ParseFile(token.NewFileSet(), "../internal/fault/kind.go", nil, 0)
	if err != nil {
		panic(err) // the code does not compile
	}
	ast.Inspect(f, func(n ast.Node) bool {
		if v, ok := n.(*ast.ValueSpec); ok && len(v.Values) == 1 {
			if text, ok := v.Values[0].(*ast.BasicLit); ok {
				word, _ := strconv.Unquote(text.Value)
				out[v.Names[0].Name] = fault.Kind(word)
			}
		}
		return true
	})
	return out
}

// bareOf finds the named errors that are returned, or told, as they are: the text of another
// is met by nobody, as each error that is made of it has a sentence of its own.
func bareOf(files []*ast.File, roots map[string]string) map[string]bool {
	out := map[string]bool{}
	for _, f := range files {
		pkg := f.Name.Name
		passed := map[ast.Node]bool{} // where a name is only compared with, made, or given a kind by
		ast.Inspect(f, func(n ast.Node) bool {
			if passed[n] {
				return false
			}
			switch n := n.(type) {
			case *ast.ValueSpec:
				for _, id := range n.Names {
					passed[id] = true
				}
				for _, v := range n.Values {
					passed[v] = name(v) != ""
				}
			case *ast.CallExpr:
				switch name(n.Fun) {
				case "fault.Of":
					passed[n.Args[0]] = true
				case "errors.Is":
					passed[n.Args[1]] = true
				}
			case ast.Expr:
				if what := name(n); what != "" {
					if root := roots[qualified(pkg, what)]; root != "" {
						out[root] = true
					}
					return false
				}
			}
			return true
		})
	}
	return out
}

// sentinelsOf finds the kinds of errors that have names, and of their other names, and for each
// the name under which it was made.
func sentinelsOf(files []*ast.File, kinds map[string]fault.Kind) (out map[string]fault.Kind, roots map[string]string) {
	out, roots = map[string]fault.Kind{}, map[string]string{}
	alias := map[string]string{}
	for _, f := range files {
		pkg := f.Name.Name
		ast.Inspect(f, func(n ast.Node) bool {
			v, ok := n.(*ast.ValueSpec)
			if !ok {
				return true
			}
			for i, value := range v.Values {
				key := qualified(pkg, v.Names[i].Name)
				if call, ok := value.(*ast.CallExpr); ok && name(call.Fun) == "fault.New" {
					out[key], roots[key] = kinds[strings.TrimPrefix(name(call.Args[0]), "fault.")], key
				} else if call, ok := value.(*ast.CallExpr); ok && name(call.Fun) == "fault.Of" {
					alias[key] = qualified(pkg, name(call.Args[0]))
				} else if other := name(value); other != "" {
					alias[key] = qualified(pkg, other)
				}
			}
			return true
		})
	}
	for range 5 { // names of names
		for key, other := range maps.Clone(alias) {
			if k, ok := out[other]; ok {
				out[key] = k
			}
			if r, ok := roots[other]; ok && roots[key] == "" {
				roots[key] = r
			}
		}
	}
	return out, roots
}

func qualified(pkg, name string) string {
	if strings.Contains(name, ".") {
		return name
	}
	return pkg + "." + name
}

// name returns a name, with its package if that is written.
func name(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		if x, ok := e.X.(*ast.Ident); ok {
			return x.Name + "." + e.Sel.Name
		}
	}
	return ""
}

var verb = regexp.MustCompile(`"?%[-+# 0-9.\[\]*]*[a-zA-Z]"?`)

// sentence returns a format as people see it.
func sentence(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.BasicLit:
		text, err := strconv.Unquote(e.Value)
		if err != nil {
			return "…"
		}
		return strings.ReplaceAll(verb.ReplaceAllString(strings.ReplaceAll(text, "%%", "\x00"), "…"), "\x00", "%")
	case *ast.BinaryExpr:
		return sentence(e.X) + sentence(e.Y)
	case *ast.ParenExpr:
		return sentence(e.X)
	}
	return "…"
}
