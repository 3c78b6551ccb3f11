package adversary

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/libp2p/go-libp2p/p2p/transport/tcpreuse.(*ConnMgr).background"))
}

// An attack is one row of the table.
type attack struct {
	name    string // of the test
	row     int    // in the table of attacks that the formats were built against; 0: another
	tried   string
	remains string // what remains possible, and why; "" is nothing that is known
	alone   bool   // it measures: nothing else runs meanwhile
	// play attacks, and returns what happened, all of which it asserted or measured.
	play func(t *testing.T) (happened string)
}

// A part is the attacks of one role.
type part struct {
	role, title, knows string
	attacks            []attack
}

func parts() []part {
	return []part{
		{"stranger", "A stranger", "a device key, or ten thousand; perhaps an invite's URL that leaked or ended,\nand what an accomplice shows it", strangers},
		{"reader", "A reader", "the read key, and a control log of its own", readers},
		{"writer", "A writer", "the read key, a control log and a data log of its own, and their signing key", writers},
		{"admin", "An admin", "what a writer has, and the right to let in, remove and rotate", admins},
		{"removed", "Who was removed", "all keys and records of before, the URLs that it knew, its identity's key", removed},
		{"relay", "A relay", "the service key, all ciphertext, and whom it gives what", relays},
		{"sender", "A sender of messages", "an API key of the relay that keeps a mailbox", senders},
	}
}

const (
	page  = "../../../docs/design/threats.md"
	begin = "<!-- What was tried: written by WEFT_UPDATE=1 go test ./net/internal/adversary -->\n"
	end   = "<!-- End of what was tried. -->\n"
)

// figures are not compared with the page: they are those of the run that wrote it.
var figures = regexp.MustCompile(`[0-9][0-9.,]*`)

// TestAdversary plays every attack, and compares what happened with the table in
// docs/design/threats.md, where each is a row. With WEFT_UPDATE=1 it writes the table.
func TestAdversary(t *testing.T) {
	var mu sync.Mutex
	happened := map[string]string{}
	play := func(t *testing.T, key string, a attack) {
		s := a.play(t)
		if t.Failed() {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		happened[key] = s
	}
	all := 0
	for _, alone := range []bool{true, false} {
		t.Run(map[bool]string{true: "alone", false: "together"}[alone], func(t *testing.T) {
			for _, p := range parts() {
				for _, a := range p.attacks {
					if a.alone != alone {
						continue
					}
					all++
					t.Run(p.role+"/"+a.name, func(t *testing.T) {
						if !a.alone {
							t.Parallel()
						}
						play(t, p.role+"/"+a.name, a)
					})
				}
			}
		})
	}
	if t.Failed() {
		return
	}
	b, err := os.ReadFile(page)
	must(t, err)
	before, rest, ok := strings.Cut(string(b), begin)
	old, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the table", page)
	}
	now := table(happened, rowsOf(old))
	if os.Getenv("WEFT_UPDATE") != "" {
		must(t, os.WriteFile(page, []byte(before+begin+now+end+after), 0o644))
		return
	}
	if figures.ReplaceAllString(now, "#") != figures.ReplaceAllString(old, "#") {
		t.Errorf("the table of %s is not what happened: write it with WEFT_UPDATE=1, and read what changed.\n%s", page, diff(old, now))
	}
}

// Every attack that the formats were built against is a row, and every row says what remains
// or that nothing does.
func TestEveryAttackHasARow(t *testing.T) {
	rows, names := map[int]bool{}, map[string]bool{}
	for _, p := range parts() {
		for _, a := range p.attacks {
			rows[a.row] = true
			if names[p.role+a.name] || a.tried == "" || a.play == nil {
				t.Errorf("%s/%s is there twice, or incomplete", p.role, a.name)
			}
			names[p.role+a.name] = true
		}
	}
	for i := 1; i <= 11; i++ {
		if !rows[i] {
			t.Errorf("attack %d is in no row", i)
		}
	}
}

// table returns the table, with the cells of before where an attack was not played.
func table(happened, before map[string]string) string {
	var b strings.Builder
	for _, p := range parts() {
		fmt.Fprintf(&b, "\n### %s\n\nHas %s.\n\n| test | tried | what happened | what remains possible, and why |\n|---|---|---|---|\n", p.title, p.knows)
		for _, a := range p.attacks {
			key := p.role + "/" + a.name
			did, ok := happened[key]
			if !ok {
				did = before[key]
			}
			label := "`" + key + "`"
			if a.row > 0 {
				label += fmt.Sprintf(" (attack %d)", a.row)
			}
			remains := a.remains
			if remains == "" {
				remains = "–"
			}
			fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", label, a.tried, did, remains)
		}
	}
	b.WriteString("\n")
	return b.String()
}

// rowsOf returns what a table says that happened, by test.
func rowsOf(table string) map[string]string {
	rows := map[string]string{}
	for line := range strings.Lines(table) {
		cells := strings.Split(strings.TrimSpace(line), " | ")
		if name := strings.Split(cells[0], "`"); len(cells) == 4 && len(name) == 3 {
			rows[name[1]] = cells[2]
		}
	}
	return rows
}

// diff returns the lines that only one of two texts has.
func diff(old, now string) string {
	a, b := strings.Split(old, "\n"), strings.Split(now, "\n")
	same := func(x string) func(string) bool {
		return func(y string) bool { return figures.ReplaceAllString(x, "#") == figures.ReplaceAllString(y, "#") }
	}
	var out []string
	for _, l := range a {
		if !slices.ContainsFunc(b, same(l)) {
			out = append(out, "- "+l)
		}
	}
	for _, l := range b {
		if !slices.ContainsFunc(a, same(l)) {
			out = append(out, "+ "+l)
		}
	}
	return strings.Join(out, "\n")
}
