package keyspace

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// The codes are hashed. The page that tells them has the words of this table.
func TestCodesOfPage(t *testing.T) {
	text, err := os.ReadFile("../../../docs/design/db.md")
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for code, reason := range Reasons {
		if code != int(CodeOK) {
			want = append(want, fmt.Sprintf("%d %s", code, reason))
		}
	}
	page := strings.Join(strings.Fields(string(text)), " ")
	if codes := "Codes: " + strings.Join(want, ", ") + "."; !strings.Contains(page, codes) {
		t.Errorf("the page does not say: %s", codes)
	}
}
