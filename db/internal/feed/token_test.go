package feed

import (
	"encoding/base64"
	"testing"

	"github.com/weftdb/weft/db/internal/view"
	"github.com/weftdb/weft/internal/vectors"
)

// TestVectors holds resume tokens against testdata/vectors/tokens.json.
func TestVectors(t *testing.T) {
	var all []vectors.Vector
	for name, token := range map[string]resumeToken{
		"token":            {feed: feedID{1, 2}, tip: [8]byte{3, 4}, Bookmark: view.Bookmark{At: 300, Ahead: 1 << 40, Gaps: 5}},
		"at the beginning": {feed: feedID{1, 2}},
	} {
		back, err := parseToken(token.String())
		if err != nil || back != token {
			t.Errorf("%s: got %v, %v", name, back, err)
		}
		b, err := base64.RawURLEncoding.DecodeString(token.String())
		if err != nil {
			t.Fatal(err)
		}
		v := vectors.Vector{Name: name, Bytes: b, Gives: vectors.Gives{
			"text": token.String(), "feed": token.feed, "tip": token.tip, "at": token.At, "ahead": token.Ahead, "gaps": token.Gaps,
		}}
		if all = append(all, v); len(all) == 2 && all[0].Name > all[1].Name {
			all[0], all[1] = all[1], all[0]
		}
	}
	vectors.Check(t, "tokens", "docs/design/watch.md, Resume tokens", all...)
}
