// Site makes one static site of the pages of a checkout: the README, the guides, the reference
// of the command line, and the design. It fails on a link that leads nowhere.
//
//	go run . -from ../.. -to ../../site
package main

import (
	"bytes"
	_ "embed"
	"flag"
	"fmt"
	"html/template"
	"io/fs"
	"log"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/parser"
	"github.com/yuin/goldmark/text"
)

//go:embed page.html
var layout string

func main() {
	from := flag.String("from", "../..", "the checkout")
	to := flag.String("to", "../../site", "where the site goes; what is there is replaced")
	flag.Parse()
	if err := build(*from, *to); err != nil {
		log.Fatal(err)
	}
}

// A page is one file of the checkout that is written for people.
type page struct {
	source string // as README.md, docs/guide/embed.md
	html   []byte
	title  string
	ids    map[string]bool // of its headings
	links  []string        // relative to its folder, with their fragments
}

// menu are the pages that every page links to.
var menu = []struct{ Title, Source string }{
	{"Weft", "README.md"}, {"Guides", "docs/guide/README.md"}, {"Embed", "docs/guide/embed.md"}, {"Relay", "docs/guide/relay.md"},
	{"Share", "docs/guide/share.md"}, {"Back up", "docs/guide/backup.md"}, {"Merging", "docs/guide/merging.md"},
	{"From MongoDB", "docs/guide/mongodb.md"}, {"Troubleshooting", "docs/guide/troubleshooting.md"},
	{"Command line", "docs/cli.md"}, {"Messages", "docs/messages.md"}, {"Design", "docs/design.md"}, {"Changes", "CHANGELOG.md"},
}

func build(from, to string) error {
	sources := []string{"README.md", "CHANGELOG.md"}
	err := fs.WalkDir(os.DirFS(from), "docs", func(name string, _ fs.DirEntry, err error) error {
		if err == nil && path.Ext(name) == ".md" {
			sources = append(sources, name)
		}
		return err
	})
	if err != nil {
		return err
	}
	pages := map[string]*page{}
	for _, s := range sources {
		if pages[s], err = read(from, s); err != nil {
			return fmt.Errorf("%s: %w", s, err)
		}
	}
	addIndexes(pages)
	files, err := check(from, pages)
	if err != nil {
		return err
	}
	if err := os.RemoveAll(to); err != nil {
		return err
	}
	for _, p := range pages {
		if err := p.write(to); err != nil {
			return err
		}
	}
	for _, name := range files {
		b, err := os.ReadFile(filepath.Join(from, filepath.FromSlash(name)))
		if err == nil {
			err = write(to, name, b)
		}
		if err != nil {
			return err
		}
	}
	fmt.Printf("%d pages and %d files in %s, no dead link\n", len(pages), len(files), to)
	return nil
}

// addIndexes makes a page for each folder of pages that has none: the list of them.
func addIndexes(pages map[string]*page) {
	folders := map[string][]string{}
	for s := range pages {
		folders[path.Dir(s)] = append(folders[path.Dir(s)], s)
	}
	for dir, sources := range folders {
		index := path.Join(dir, "README.md")
		if pages[index] != nil {
			continue
		}
		slices.Sort(sources)
		var b strings.Builder
		fmt.Fprintf(&b, "<h1>%s</h1>\n<ul>\n", template.HTMLEscapeString(dir))
		for _, s := range sources {
			fmt.Fprintf(&b, "<li><a href=%q>%s</a></li>\n", path.Base(target(s)), template.HTMLEscapeString(pages[s].title))
		}
		b.WriteString("</ul>\n")
		pages[index] = &page{source: index, title: dir, html: []byte(b.String()), ids: map[string]bool{}}
	}
}

// machine is a block of commands on a machine that has a name.
var machine = regexp.MustCompile("(?m)^```console (\\w+)$")

// read renders one page, with its links to pages made links to where the site has them.
func read(from, source string) (*page, error) {
	b, err := os.ReadFile(filepath.Join(from, filepath.FromSlash(source)))
	if err != nil {
		return nil, err
	}
	b = machine.ReplaceAll(b, []byte("*$1:*\n\n```console"))
	p := &page{source: source, title: source, ids: map[string]bool{}}
	md := goldmark.New(goldmark.WithExtensions(extension.GFM), goldmark.WithParserOptions(parser.WithAutoHeadingID()))
	doc := md.Parser().Parse(text.NewReader(b), parser.WithContext(parser.NewContext(parser.WithIDs(ids(p.ids)))))
	err = ast.Walk(doc, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if !entering {
			return ast.WalkContinue, nil
		}
		switch n := n.(type) {
		case *ast.Heading:
			if n.Level == 1 {
				p.title = strings.ReplaceAll(string(n.Lines().Value(b)), "`", "")
			}
		case *ast.Link:
			dest := string(n.Destination)
			if strings.Contains(dest, "://") || strings.HasPrefix(dest, "mailto:") {
				break
			}
			p.links = append(p.links, dest)
			name, fragment, _ := strings.Cut(dest, "#")
			if info, err := os.Stat(filepath.Join(from, path.Dir(source), name)); err == nil && info.IsDir() && name != "" {
				name = path.Join(name, "README.md")
			}
			if path.Ext(name) == ".md" {
				name = relative(path.Dir(source), target(path.Join(path.Dir(source), name)))
			}
			if fragment != "" {
				name += "#" + fragment
			}
			n.Destination = []byte(name)
		}
		return ast.WalkContinue, nil
	})
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = md.Renderer().Render(&out, b, doc)
	p.html = out.Bytes()
	return p, err
}

// ids gives headings the names that GitHub gives them.
type ids map[string]bool

func (s ids) Generate(value []byte, _ ast.NodeKind) []byte {
	var b strings.Builder
	for _, r := range strings.ToLower(string(value)) {
		switch {
		case r == ' ':
			b.WriteRune('-')
		case r == '-' || r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r > 127 && r != '…' && r != '’':
			b.WriteRune(r)
		}
	}
	name := b.String()
	for i := 1; s[name]; i++ {
		name = fmt.Sprintf("%s-%d", b.String(), i)
	}
	s[name] = true
	return []byte(name)
}

func (s ids) Put(value []byte) { s[string(value)] = true }

// target is where the site has a page.
func target(source string) string {
	dir, name := path.Split(source)
	if name == "README.md" {
		name = "index.md"
	}
	return dir + strings.TrimSuffix(name, ".md") + ".html"
}

// relative is the way from a folder to a file, both in the site.
func relative(dir, to string) string {
	rel, err := filepath.Rel(filepath.FromSlash(dir), filepath.FromSlash(to))
	if err != nil {
		return to
	}
	return filepath.ToSlash(rel)
}

// check follows every link, and returns the files of the checkout that pages link to.
func check(from string, pages map[string]*page) (files []string, err error) {
	var dead []string
	for source, p := range pages {
		for _, link := range p.links {
			name, fragment, _ := strings.Cut(link, "#")
			to := source
			if name != "" {
				to = path.Join(path.Dir(source), name)
			}
			other := pages[to]
			if other == nil {
				info, err := os.Stat(filepath.Join(from, filepath.FromSlash(to)))
				switch {
				case err != nil:
					dead = append(dead, source+" → "+link)
				case info.IsDir():
					if pages[path.Join(to, "README.md")] == nil {
						dead = append(dead, source+" → "+link+": the folder has no page")
					}
				default:
					files = append(files, to)
				}
				continue
			}
			if fragment != "" && !other.ids[fragment] {
				dead = append(dead, source+" → "+link)
			}
		}
	}
	if len(dead) > 0 {
		slices.Sort(dead)
		return nil, fmt.Errorf("dead links:\n%s", strings.Join(slices.Compact(dead), "\n"))
	}
	slices.Sort(files)
	return slices.Compact(files), nil
}

func (p *page) write(to string) error {
	t, err := template.New("page").Parse(layout)
	if err != nil {
		return err
	}
	type item struct {
		Title, Href string
		Here        bool
	}
	var items []item
	for _, m := range menu {
		items = append(items, item{m.Title, relative(path.Dir(p.source), target(m.Source)), m.Source == p.source})
	}
	var out bytes.Buffer
	err = t.Execute(&out, map[string]any{"Title": p.title, "Menu": items, "Body": template.HTML(p.html)}) //nolint:gosec // our own pages
	if err != nil {
		return err
	}
	return write(to, target(p.source), out.Bytes())
}

func write(to, name string, b []byte) error {
	name = filepath.Join(to, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	return os.WriteFile(name, b, 0o644)
}
