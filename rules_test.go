package weft_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/weftdb/weft/internal/fault"
)

const module = "github.com/weftdb/weft"

// goFiles calls f for every Go file of the module that is not generated.
func goFiles(t *testing.T, f func(path string, file *ast.File)) {
	t.Helper()
	fset := token.NewFileSet()
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || d.Name() == "bin") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		file, err := parser.ParseFile(fset, path, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		if !ast.IsGenerated(file) {
			f(path, file)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Every package has exactly one package comment: its story, in its root file.
func TestEachPackageHasOneComment(t *testing.T) {
	comments := map[string][]string{}
	goFiles(t, func(path string, file *ast.File) {
		if strings.HasSuffix(path, "_test.go") {
			return
		}
		dir := filepath.Dir(path)
		comments[dir] = append(comments[dir], "")
		if file.Doc != nil {
			comments[dir][len(comments[dir])-1] = path
		}
	})
	if len(comments) < 8 {
		t.Fatalf("got %d packages, want the whole module", len(comments))
	}
	for dir, paths := range comments {
		var with []string
		for _, p := range paths {
			if p != "" {
				with = append(with, p)
			}
		}
		if len(with) != 1 {
			t.Errorf("package %s: got %d package comments %q, want 1", dir, len(with), with)
		}
	}
}

// The import arrows of docs/design.md, among our own packages.
func TestImportArrows(t *testing.T) {
	allowed := map[string][]string{
		"internal/fault":     {},
		"internal/bell":      {},
		"internal/parallel":  {},
		"internal/durable":   {"internal/parallel"},
		"internal/canonical": {"internal/fault"},
		"internal/clock":     {"internal/fault"},
		"internal/vectors":   {},
		"internal/model":     {}, // what others are compared with rests on none of them
		"internal/store":     {"internal/store", "internal/durable", "internal/fault"},
		"keys":               {"keys", "internal"},
		"db":                 {"db", "internal"},
		"net":                {"net", "keys", "internal"},
		"buckets":            {"buckets", "db", "keys", "internal"},
		"inbox":              {"inbox", "db", "keys", "internal"},
		"node":               {"node", "buckets", "inbox", "net", "db", "keys", "internal"},
		"cmd":                {"cmd", "node", "keys", "internal/fault"},
		"cmd/demo":           {"internal/store"},                // it looks what a relay has on its disk
		"cmd/stress":         {"node", "keys", "db", "buckets"}, // its soak is an embedding program
	}
	goFiles(t, func(path string, file *ast.File) {
		if strings.HasSuffix(path, "_test.go") || !strings.Contains(path, "/") {
			return
		}
		area := strings.SplitN(path, "/", 2)[0]
		if area == "internal" || strings.HasPrefix(path, "cmd/stress/") || strings.HasPrefix(path, "cmd/demo/") {
			area = strings.Join(strings.SplitN(path, "/", 3)[:2], "/")
		}
		may, known := allowed[area]
		if !known {
			t.Errorf("%s: %q is not a part of the architecture", path, area)
			return
		}
		for _, imp := range file.Imports {
			name := strings.Trim(imp.Path.Value, `"`)
			rest, ours := strings.CutPrefix(name, module+"/")
			if !ours {
				continue
			}
			ok := false
			for _, m := range may {
				ok = ok || rest == m || strings.HasPrefix(rest, m+"/")
			}
			if !ok {
				t.Errorf("%s imports %s: no such arrow", path, rest)
			}
		}
	})
}

// The walls inside net: each room imports what is listed and nothing else of ours,
// and no socket, but for what is wrapped in it, and the one that makes sockets.
func TestWallsInsideNet(t *testing.T) {
	allowed := map[string][]string{
		"net": {
			"net/internal/thread", "net/internal/memory", "net/internal/wire", "net/internal/tipset", "net/internal/mux",
			"net/internal/stack", "net/internal/strangers", "net/internal/format", "keys", "internal/bell", "internal/clock", "internal/fault", "internal/store",
		},
		"net/internal/thread":   {"net/internal/blobs", "net/internal/control", "net/internal/floor", "net/internal/format", "net/internal/held", "net/internal/logstore", "net/internal/self", "net/internal/verify", "keys", "internal/bell", "internal/clock", "internal/fault", "internal/parallel", "internal/store"},
		"net/internal/self":     {"net/internal/format", "net/internal/logstore", "keys"},
		"net/internal/verify":   {"net/internal/control", "net/internal/format", "keys", "internal/clock", "internal/fault", "internal/parallel"},
		"net/internal/blobs":    {"net/internal/format", "internal/bell", "internal/durable", "internal/fault", "internal/parallel", "internal/store"},
		"net/internal/held":     {"net/internal/control", "net/internal/floor", "net/internal/format", "net/internal/logstore", "keys", "internal/clock", "internal/fault", "internal/store"},
		"net/internal/floor":    {"internal/clock"},
		"net/internal/logstore": {"net/internal/format", "internal/canonical", "internal/clock", "internal/fault", "internal/store"},
		"net/internal/control":  {"net/internal/format", "keys", "internal/clock", "internal/fault"},
		"net/internal/format":   {"keys", "internal/canonical", "internal/clock", "internal/fault"},

		// What the exchange stands on: its messages, and what a host keeps of others.
		"net/internal/memory":    {"net/internal/format", "internal/canonical", "internal/store"},
		"net/internal/wire":      {"net/internal/format", "internal/canonical", "internal/clock", "internal/fault"},
		"net/internal/tipset":    {"net/internal/format", "internal/clock"},
		"net/internal/mux":       {"internal/fault"},
		"net/internal/strangers": {"internal/fault"},
		"net/internal/stack":     {},
	}
	wraps := map[string][]string{
		"net/internal/mux":       {"net", "github.com/libp2p/go-yamux/v5"},
		"net/internal/strangers": {"github.com/libp2p/go-libp2p/core/network", "github.com/libp2p/go-libp2p/core/peer"},
	}
	used := map[string]map[string]bool{}
	goFiles(t, func(path string, file *ast.File) {
		dir := filepath.ToSlash(filepath.Dir(path))
		if dir != "net" && !strings.HasPrefix(dir, "net/") || strings.HasSuffix(path, "_test.go") {
			return
		}
		may, known := allowed[dir]
		if !known {
			t.Errorf("%s: %s is no room of net", path, dir)
			return
		}
		if used[dir] == nil {
			used[dir] = map[string]bool{}
		}
		for _, imp := range file.Imports {
			name := strings.Trim(imp.Path.Value, `"`)
			rest, ours := strings.CutPrefix(name, module+"/")
			used[dir][rest] = used[dir][rest] || ours
			switch {
			case ours && !slices.Contains(may, rest):
				t.Errorf("%s imports %s: it reaches over a wall", path, rest)
			case dir != "net" && !slices.Contains(wraps[dir], name) && (name == "net" || name == "net/http" || strings.HasPrefix(name, "github.com/libp2p/") && dir != "net/internal/stack"):
				t.Errorf("%s imports %s: only package net knows sockets", path, name)
			}
		}
	})
	notUsed(t, allowed, used, nil)
}

// What attacks whole nodes may import everything, so it is tests only.
func TestAdversaryIsTests(t *testing.T) {
	n := 0
	goFiles(t, func(path string, _ *ast.File) {
		if filepath.ToSlash(filepath.Dir(path)) != "net/internal/adversary" {
			return
		}
		if n++; !strings.HasSuffix(path, "_test.go") {
			t.Errorf("%s is linked", path)
		}
	})
	if n == 0 {
		t.Error("the suite is elsewhere")
	}
}

// The walls inside node: the node knows no surface, and a surface only its public
// methods. A package under node that is not named here is a surface. Lists name packages
// and not what is below them: a surface may use db, but neither db/replica nor db/command.
func TestWallsInsideNode(t *testing.T) {
	api := []string{"node/api/weft/v1", "node/api/weft/v1/weftv1connect"}
	surface := append([]string{
		"node", "node/internal/chunks", "node/transfer", "db", "buckets", "inbox", "keys", "internal/clock", "internal/fault",
	}, api...)
	rooms := map[string][]string{
		"node": {
			"node/internal/addrs", "node/internal/apikeys", "node/internal/archive", "node/internal/check", "node/internal/handle", "node/internal/homedir", "node/internal/homelock", "node/internal/homenote", "node/internal/journal", "node/internal/hosting", "node/internal/pairing", "node/internal/rows", "node/internal/server", "node/internal/sessions", "node/internal/shortfall", "node/internal/sizes", "net", "db", "db/replica", "buckets", "inbox", "keys",
			"internal/clock", "internal/durable", "internal/fault", "internal/store", "internal/store/engines",
		},
		"node/api/weft/v1": {},
		"node/transfer":    {"db", "internal/fault"},
		// The client joins a surface and its caller in one process.
		"node/client": append([]string{
			"node", "node/internal/chunks", "node/rpc", "buckets", "db", "db/command", "db/threaddb", "keys", "keys/dpop", "internal/fault",
		}, api...),

		"node/internal/addrs":   {"internal/fault"},
		"node/internal/apikeys": {"node/internal/addrs", "internal/fault", "internal/store", "keys"},
		"node/internal/archive": {"node/internal/check", "internal/fault", "internal/store"},
		"node/internal/check":   {"db/replica", "internal/clock", "internal/fault", "internal/store"},
		"node/internal/handle":  {"db/replica", "internal/fault", "internal/store"},
		"node/internal/chunks":  {"node/api/weft/v1", "internal/fault"},
		"node/internal/homedir": {
			"node/internal/addrs", "node/internal/homelock", "node/internal/pairing", "node/internal/swap", "keys",
			"internal/durable", "internal/fault", "internal/store",
		},
		"node/internal/homelock":  {"internal/fault"},
		"node/internal/homenote":  {"net", "internal/canonical", "internal/clock", "internal/durable", "internal/fault"},
		"node/internal/pairing":   {"keys", "internal/canonical", "internal/fault"},
		"node/internal/journal":   {"db/replica", "internal/clock", "internal/fault", "internal/store", "keys", "net"},
		"node/internal/rows":      {"internal/store"},
		"node/internal/shortfall": {"node/internal/homenote", "net", "internal/clock", "internal/fault"},
		"node/internal/sizes":     {},
		"node/internal/swap":      {"internal/durable"},
		"node/internal/server":    {},
		"node/internal/sessions":  {"keys", "keys/dpop", "internal/fault"},
		"node/internal/hosting":   {"keys", "internal/canonical", "internal/fault", "internal/store"},
	}
	used := map[string]map[string]bool{}
	goFiles(t, func(path string, file *ast.File) {
		dir := filepath.ToSlash(filepath.Dir(path))
		if dir != "node" && !strings.HasPrefix(dir, "node/") || strings.HasSuffix(path, "_test.go") {
			return
		}
		may, known := rooms[dir]
		if !known {
			may = surface
		}
		if used[dir] == nil {
			used[dir] = map[string]bool{}
		}
		for _, imp := range file.Imports {
			name := strings.Trim(imp.Path.Value, `"`)
			rest, ours := strings.CutPrefix(name, module+"/")
			used[dir][rest] = used[dir][rest] || ours
			if ours && !slices.Contains(may, rest) || dir == "node" && strings.HasPrefix(name, "connectrpc.com/") {
				t.Errorf("%s imports %s: it reaches over a wall", path, name)
			}
		}
	})
	notUsed(t, rooms, used, map[string]bool{"node/api/weft/v1": true}) // its code is generated
}

// The walls inside the command line: a room prints or reads what it is given, knows no
// command and opens no home.
func TestWallsInsideCommand(t *testing.T) {
	checkWalls(t, "cmd/weft/internal", map[string][]string{
		"cmd/weft/internal/report":  {"cmd/weft/internal/tty", "cmd/weft/internal/words", "node", "node/api/weft/v1", "internal/fault"},
		"cmd/weft/internal/remote":  {"cmd/weft/internal/tty", "node", "node/rpc", "keys", "internal/fault"},
		"cmd/weft/internal/rescue":  {"cmd/weft/internal/words", "node", "node/transfer", "internal/fault"},
		"cmd/weft/internal/show":    {"cmd/weft/internal/tty", "node/client"},
		"cmd/weft/internal/words":   {"cmd/weft/internal/tty"},
		"cmd/weft/internal/tty":     {"internal/fault"},
		"cmd/weft/internal/help":    {},
		"cmd/weft/internal/mongosh": {"internal/fault"},
	})
}

// What an embedder calls or fills in names no type of an internal package: it uses the
// alias, which has a public name. An alias itself names what it stands for.
func TestSignaturesArePublic(t *testing.T) {
	public := []string{"db", "net", "node", "buckets", "inbox", "keys", "db/command", "db/replica", "db/threaddb"}
	seen := map[string]bool{}
	goFiles(t, func(path string, file *ast.File) {
		dir := filepath.ToSlash(filepath.Dir(path))
		if strings.HasSuffix(path, "_test.go") || !slices.Contains(public, dir) {
			return
		}
		seen[dir] = true
		hidden := map[string]bool{}
		for _, imp := range file.Imports {
			name := strings.Trim(imp.Path.Value, `"`)
			if rest, ours := strings.CutPrefix(name, module+"/"); ours && strings.Contains("/"+rest, "/internal/") {
				hidden[name[strings.LastIndex(name, "/")+1:]] = true
				if imp.Name != nil {
					hidden[imp.Name.Name] = true
				}
			}
		}
		for name, types := range exportedTypes(file) {
			for _, e := range types {
				ast.Inspect(e, func(n ast.Node) bool {
					if s, ok := n.(*ast.SelectorExpr); ok {
						if x, ok := s.X.(*ast.Ident); ok && hidden[x.Name] {
							t.Errorf("%s: %s names %s.%s, which a caller cannot write", path, name, x.Name, s.Sel.Name)
						}
					}
					return true
				})
			}
		}
	})
	for _, dir := range public {
		if !seen[dir] {
			t.Errorf("%s has no files", dir)
		}
	}
}

// exportedTypes returns what the exported names of a file say of types, by the name that
// says it: functions and methods, variables and constants with a type, definitions.
func exportedTypes(file *ast.File) map[string][]ast.Expr {
	out := map[string][]ast.Expr{}
	for _, d := range file.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Name.IsExported() && (d.Recv == nil || exportedReceiver(d.Recv)) {
				out[d.Name.Name] = append(out[d.Name.Name], d.Type)
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				switch s := spec.(type) {
				case *ast.ValueSpec:
					for i, name := range s.Names {
						if name.IsExported() {
							out[name.Name] = append(out[name.Name], typesOfValue(s, i)...)
						}
					}
				case *ast.TypeSpec:
					if s.Name.IsExported() && !s.Assign.IsValid() {
						visibleTypes(s.Name.Name, s.Type, out)
					}
				}
			}
		}
	}
	return out
}

// typesOfValue returns what a variable or constant says of its type: the type that is
// written, or that of a composite literal.
func typesOfValue(s *ast.ValueSpec, i int) []ast.Expr {
	if s.Type != nil {
		return []ast.Expr{s.Type}
	}
	if i >= len(s.Values) {
		return nil
	}
	v := s.Values[i]
	if u, ok := v.(*ast.UnaryExpr); ok {
		v = u.X
	}
	switch v := v.(type) {
	case *ast.CompositeLit:
		return []ast.Expr{v.Type}
	case *ast.FuncLit:
		return []ast.Expr{v.Type}
	}
	return nil
}

// visibleTypes adds what the definition of a type shows: of a struct its exported and
// embedded fields, of an interface its methods, else all of it.
func visibleTypes(name string, e ast.Expr, out map[string][]ast.Expr) {
	var fields *ast.FieldList
	switch x := e.(type) {
	case *ast.StructType:
		fields = x.Fields
	case *ast.InterfaceType:
		fields = x.Methods
	default:
		out[name] = append(out[name], e)
		return
	}
	for _, f := range fields.List {
		if len(f.Names) == 0 {
			out[name] = append(out[name], f.Type)
		}
		for _, n := range f.Names {
			if n.IsExported() {
				visibleTypes(name+"."+n.Name, f.Type, out)
			}
		}
	}
}

func exportedReceiver(r *ast.FieldList) bool {
	x := r.List[0].Type
	if p, ok := x.(*ast.StarExpr); ok {
		x = p.X
	}
	id, ok := x.(*ast.Ident)
	return ok && id.IsExported()
}

// No room grows into a hall: a package has fewer than 6,000 lines.
func TestPackagesAreSmall(t *testing.T) {
	lines := map[string]int{}
	goFiles(t, func(path string, _ *ast.File) {
		if strings.HasSuffix(path, "_test.go") {
			return
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		lines[filepath.Dir(path)] += strings.Count(string(b), "\n")
	})
	for dir, n := range lines {
		if n >= 6000 {
			t.Errorf("%s has %d lines: carve a room out of it", dir, n)
		}
	}
}

// The walls inside db: each room imports what is listed and nothing else of ours. What
// stands above imports what stands below; command and replica are on top of db.
func TestWallsInsideDB(t *testing.T) {
	allowed := map[string][]string{
		"db/threaddb": {"db", "internal/fault"},
		"db/dbtest":   {"db/replica", "internal/clock", "internal/store", "internal/store/engines"},
		"db/replica":  {"db", "db/command", "db/internal/fold", "db/internal/journal", "db/internal/keyspace", "internal/clock", "internal/store"},
		"db/command": {
			"db", "db/internal/judge", "db/internal/keyspace", "db/internal/payload", "db/internal/query", "db/internal/search",
			"db/internal/update", "db/internal/value", "internal/clock", "internal/fault",
		},
		"db": {
			"db/internal/change", "db/internal/expr", "db/internal/feed", "db/internal/fold", "db/internal/journal",
			"db/internal/judge", "db/internal/keyspace", "db/internal/lthash", "db/internal/past", "db/internal/payload",
			"db/internal/pipeline", "db/internal/query", "db/internal/refused", "db/internal/search", "db/internal/update", "db/internal/value",
			"db/internal/view", "internal/clock", "internal/fault", "internal/store",
		},

		// What is told of commits, and what was.
		"db/internal/feed": {
			"db/internal/change", "db/internal/journal", "db/internal/judge", "db/internal/keyspace", "db/internal/query",
			"db/internal/value", "db/internal/view", "internal/bell", "internal/clock", "internal/fault", "internal/store",
		},
		"db/internal/past": {
			"db/internal/change", "db/internal/fold", "db/internal/journal", "db/internal/judge", "db/internal/keyspace",
			"db/internal/payload", "db/internal/value", "db/internal/view", "internal/clock", "internal/fault", "internal/store",
		},

		// What has no effect.
		"db/internal/refused": {
			"db/internal/cut", "db/internal/journal", "db/internal/keyspace", "db/internal/value", "db/internal/view", "internal/clock",
			"internal/fault", "internal/store",
		},

		// Where a query looks, and what it finds.
		"db/internal/search": {
			"db/internal/keyspace", "db/internal/plan", "db/internal/query", "db/internal/text", "db/internal/value",
			"db/internal/view", "internal/fault", "internal/store",
		},
		"db/internal/plan": {
			"db/internal/keyspace", "db/internal/query", "db/internal/value", "db/internal/view", "internal/fault", "internal/store",
		},

		// What documents are: keyspace < judge < journal < view < change < fold.
		"db/internal/fold": {
			"db/internal/change", "db/internal/covered", "db/internal/cut", "db/internal/define", "db/internal/journal", "db/internal/judge",
			"db/internal/keyspace", "db/internal/lthash", "db/internal/payload", "db/internal/query", "db/internal/snapshot",
			"db/internal/value", "db/internal/view", "internal/clock", "internal/fault", "internal/store",
		},
		"db/internal/define": {
			"db/internal/journal", "db/internal/judge", "db/internal/keyspace", "internal/clock", "internal/fault",
		},
		"db/internal/snapshot": {
			"db/internal/judge", "db/internal/keyspace", "db/internal/lthash", "db/internal/payload", "db/internal/view",
			"internal/clock", "internal/fault", "internal/store",
		},
		"db/internal/covered": {
			"db/internal/cut", "db/internal/journal", "db/internal/keyspace", "db/internal/lthash", "db/internal/value",
			"db/internal/view", "internal/clock", "internal/fault", "internal/store",
		},
		"db/internal/cut": {"db/internal/keyspace", "internal/clock", "internal/fault", "internal/store"},
		"db/internal/change": {
			"db/internal/judge", "db/internal/keyspace", "db/internal/payload", "db/internal/query", "db/internal/value",
			"db/internal/view", "internal/clock", "internal/fault",
		},
		"db/internal/view": {
			"db/internal/judge", "db/internal/keyspace", "db/internal/lthash", "db/internal/rules", "db/internal/value",
			"internal/clock", "internal/store",
		},
		"db/internal/journal": {
			"db/internal/judge", "db/internal/keyspace", "db/internal/lthash", "db/internal/payload", "internal/clock", "internal/fault", "internal/store",
		},
		"db/internal/judge": {
			"db/internal/keyspace", "db/internal/payload", "db/internal/query", "db/internal/rules", "db/internal/schema",
			"db/internal/update", "db/internal/value", "internal/clock", "internal/fault",
		},
		"db/internal/keyspace": {
			"db/internal/lthash", "db/internal/query", "db/internal/text", "db/internal/value", "internal/clock",
			"internal/fault", "internal/store",
		},

		// The language, which knows no store.
		"db/internal/pipeline": {"db/internal/expr", "db/internal/query", "db/internal/value", "internal/fault"},
		"db/internal/update":   {"db/internal/expr", "db/internal/query", "db/internal/value", "internal/fault"},
		"db/internal/query":    {"db/internal/expr", "db/internal/pattern", "db/internal/value", "internal/fault"},
		"db/internal/expr":     {"db/internal/number", "db/internal/pattern", "db/internal/value", "internal/fault"},
		"db/internal/number":   {"db/internal/value"},
		"db/internal/pattern":  {"internal/fault"},
		"db/internal/rules":    {"db/internal/value", "internal/fault"},
		"db/internal/schema":   {"db/internal/value"},
		"db/internal/payload":  {"db/internal/value", "internal/clock", "internal/fault"},
		"db/internal/text":     {"internal/fault"},
		"db/internal/value":    {"internal/fault"},
		"db/internal/lthash":   {},
	}
	checkWalls(t, "db", allowed)
}

// checkWalls compares the imports of the packages below root with the list: both what is
// not allowed and what is allowed for nothing are errors.
func checkWalls(t *testing.T, root string, allowed map[string][]string) {
	t.Helper()
	used := map[string]map[string]bool{}
	goFiles(t, func(path string, file *ast.File) {
		dir := filepath.ToSlash(filepath.Dir(path))
		if dir != root && !strings.HasPrefix(dir, root+"/") || strings.HasSuffix(path, "_test.go") {
			return
		}
		may, known := allowed[dir]
		if !known {
			t.Errorf("%s: %s is no room of %s", path, dir, root)
			return
		}
		if used[dir] == nil {
			used[dir] = map[string]bool{}
		}
		for _, imp := range file.Imports {
			rest, ours := strings.CutPrefix(strings.Trim(imp.Path.Value, `"`), module+"/")
			if !ours {
				continue
			}
			used[dir][rest] = true
			if !slices.Contains(may, rest) {
				t.Errorf("%s imports %s: it reaches over a wall", path, rest)
			}
		}
	})
	notUsed(t, allowed, used, nil)
}

// notUsed reports rooms without files, but for the generated ones, and imports that are
// allowed for nothing.
func notUsed(t *testing.T, allowed map[string][]string, used map[string]map[string]bool, generated map[string]bool) {
	t.Helper()
	for dir, may := range allowed {
		if used[dir] == nil && !generated[dir] {
			t.Errorf("%s has no files", dir)
		}
		for _, m := range may {
			if !used[dir][m] {
				t.Errorf("%s need not import %s: take it off the list", dir, m)
			}
		}
	}
}

// Who links the engines. Everything else uses a store through its interface.
func TestWhoLinksEngines(t *testing.T) {
	may := map[string]bool{"node": true, "internal/store/engines": true, "cmd/demo/search.go": true, "db/dbtest/open.go": true}
	goFiles(t, func(path string, file *ast.File) {
		if strings.HasSuffix(path, "_test.go") || may[path] || may[filepath.Dir(path)] {
			return
		}
		for _, imp := range file.Imports {
			switch name := strings.Trim(imp.Path.Value, `"`); strings.TrimPrefix(name, module+"/internal/store/") {
			case "engines", "badgerkv", "pebblekv":
				t.Errorf("%s imports %s: it would link engines", path, name)
			}
		}
	})
}

// Every exported error and every reason of a refusal is of one of the kinds, so
// the tables of the ways out, which have a row for each kind, have a word for it.
func TestEveryErrorHasAKind(t *testing.T) {
	known := map[string]bool{}
	for _, k := range fault.Kinds() {
		known[string(k)] = true
	}
	errs, words := 0, 0
	goFiles(t, func(path string, file *ast.File) {
		if strings.HasSuffix(path, "_test.go") || strings.HasPrefix(path, "internal/fault/") {
			return
		}
		for _, d := range file.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok || g.Tok != token.VAR && g.Tok != token.CONST {
				continue
			}
			for _, spec := range g.Specs {
				v := spec.(*ast.ValueSpec)
				for i, name := range v.Names {
					switch {
					case g.Tok == token.VAR && strings.HasPrefix(name.Name, "Err"):
						errs++
						if i >= len(v.Values) || !hasKind(v.Values[i]) {
							t.Errorf("%s: %s is not made by package fault", path, name.Name)
						}
					case g.Tok == token.CONST && isReason(v, name.Name) && !isNumber(v, i):
						words++
						if i >= len(v.Values) || !isKind(v.Values[i], known) {
							t.Errorf("%s: %s is no kind of package fault", path, name.Name)
						}
					}
				}
			}
		}
	})
	if errs < 40 || words < 20 {
		t.Fatalf("found %d errors and %d reasons: this test looks in the wrong places", errs, words)
	}
}

// hasKind reports whether a value is an error of package fault, or another
// package's exported error, which this test looks at there.
func hasKind(e ast.Expr) bool {
	if call, ok := e.(*ast.CallExpr); ok {
		e = call.Fun
	}
	s, ok := e.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	x, ok := s.X.(*ast.Ident)
	return ok && (x.Name == "fault" || strings.HasPrefix(s.Sel.Name, "Err"))
}

// isReason reports whether a constant is the reason of a refusal, by its type or
// by its name.
func isReason(v *ast.ValueSpec, name string) bool {
	typed := ""
	switch x := v.Type.(type) {
	case *ast.Ident:
		typed = x.Name
	case *ast.SelectorExpr:
		typed = x.Sel.Name
	}
	switch typed {
	case "Reason", "Code", "RejectCode", "Kind":
		return ast.IsExported(name) && typed != "Kind"
	case "":
		for _, prefix := range []string{"Reason", "Code", "Reject"} {
			if rest, ok := strings.CutPrefix(name, prefix); ok && rest != "" {
				return true
			}
		}
	}
	return false
}

// isNumber reports whether a constant is a number: what the store keeps of a
// reason, say, which has a table to reasons of its own.
func isNumber(v *ast.ValueSpec, i int) bool {
	if i >= len(v.Values) {
		return true // an iota
	}
	if x, ok := v.Values[i].(*ast.Ident); ok && x.Name == "iota" {
		return true
	}
	lit, ok := v.Values[i].(*ast.BasicLit)
	return ok && lit.Kind != token.STRING
}

// isKind reports whether a value is a kind: fault.X, or a word of the list.
func isKind(e ast.Expr, known map[string]bool) bool {
	switch x := e.(type) {
	case *ast.SelectorExpr:
		p, ok := x.X.(*ast.Ident)
		return ok && (p.Name == "fault" || isReason(&ast.ValueSpec{}, x.Sel.Name))
	case *ast.BasicLit:
		return known[strings.Trim(x.Value, `"`)]
	}
	return false
}
