package docs

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// maxLine is how many characters a line of text has at most. Lines of tables and of
// fenced code are as long as they need to be.
const maxLine = 100

// pages returns the pages below this folder.
func pages(t *testing.T) (found []string) {
	t.Helper()
	err := filepath.WalkDir(".", func(path string, _ fs.DirEntry, err error) error {
		if err == nil && filepath.Ext(path) == ".md" {
			found = append(found, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(found) < 20 {
		t.Fatalf("only %d pages found", len(found))
	}
	return found
}

// headings returns the names by which links find the headings of a page.
func headings(page string) map[string]bool {
	out := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^#+ +(.*)$`).FindAllStringSubmatch(page, -1) {
		name := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
				return unicode.ToLower(r)
			}
			return -1
		}, m[1])
		for i, n := 1, name; ; i, n = i+1, fmt.Sprintf("%s-%d", name, i) {
			if !out[n] {
				out[n] = true
				break
			}
		}
	}
	return out
}

// Links between the pages of the documentation lead to files, and headings, that are there.
func TestLinksOfPages(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#\s]*)#?([^)\s]*)\)`)
	code := regexp.MustCompile("(?ms)^```.*?^```$|`[^`\n]*`") // in Go a type parameter looks like a link
	top, err := filepath.Glob("../*.md")
	if err != nil || len(top) == 0 {
		t.Fatalf("%d pages at the top: %v", len(top), err)
	}
	for _, page := range append(top, pages(t)...) {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(code.ReplaceAllString(string(text), ""), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			to := filepath.Join(filepath.Dir(page), m[1])
			if m[1] == "" {
				to = page
			}
			if _, err := os.Stat(to); err != nil {
				t.Errorf("%s links to %s: %v", page, m[1], err)
				continue
			}
			if m[2] == "" {
				continue
			}
			other, err := os.ReadFile(to)
			if err != nil {
				t.Fatal(err)
			}
			if !headings(code.ReplaceAllStringFunc(string(other), func(s string) string {
				if strings.HasPrefix(s, "```") {
					return ""
				}
				return s
			}))[m[2]] {
				t.Errorf("%s links to %s, which has no heading #%s", page, to, m[2])
			}
		}
	}
}

// Lines of text can be read in a terminal and compared in a diff.
func TestLinesOfPages(t *testing.T) {
	for _, page := range pages(t) {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		fenced := false
		for i, line := range strings.Split(string(text), "\n") {
			if strings.HasPrefix(strings.TrimSpace(line), "```") {
				fenced = !fenced
				continue
			}
			if fenced || strings.HasPrefix(line, "|") {
				continue
			}
			if n := utf8.RuneCountInString(line); n > maxLine {
				t.Errorf("%s:%d has %d characters, want at most %d", page, i+1, n, maxLine)
			}
		}
		if fenced {
			t.Errorf("%s: a fence is not closed", page)
		}
	}
}
