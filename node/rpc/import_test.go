package rpc_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"go.mongodb.org/mongo-driver/v2/bson"

	weftv1 "github.com/weftdb/weft/node/api/weft/v1"
	"github.com/weftdb/weft/node/api/weft/v1/weftv1connect"

	"github.com/weftdb/weft/node"
)

// importing sends an import that goes on until so many lines failed, and returns the answer.
func importing(t *testing.T, n *node.Node, db string, failures uint32, m *weftv1.ImportRequest) *weftv1.ImportResponse {
	t.Helper()
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: protocols}
	defer transport.CloseIdleConnections()
	s := weftv1connect.NewDocumentServiceClient(&http.Client{Transport: transport}, "http://"+n.SurfaceAddr(node.SurfaceAPI)).Import(t.Context())
	s.RequestHeader().Set("Authorization", "Bearer "+string(n.Token().Reveal()))
	if err := s.Send(&weftv1.ImportRequest{Database: db, Collection: "c", GoOn: true, MaxFailures: failures}); err != nil {
		t.Fatal(err)
	}
	if err := s.Send(m); err != nil {
		t.Fatal(err)
	}
	r, err := s.CloseAndReceive()
	if err != nil {
		t.Fatal(err)
	}
	return r.Msg
}

// Lines that the caller could not read and documents that the node refuses are counted
// together: as many as may be end an import, and one less does not. They are listed in
// order, and a sentence of the caller's is bounded.
func TestImportCountsWhatIsUnread(t *testing.T) {
	n := open(t)
	doc := func(id int) []byte {
		b, err := bson.Marshal(bson.D{{Key: "_id", Value: id}})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	unread := func(line uint64) *weftv1.ImportFailure {
		return &weftv1.ImportFailure{Line: line, Code: "malformed", Message: "x" + strings.Repeat("é", 10_000)}
	}
	for db, c := range map[string]struct {
		most    uint32
		stopped bool
	}{"ends": {4, true}, "not": {5, false}, "never": {0, false}} {
		if _, err := n.CreateDatabase(t.Context(), db); err != nil {
			t.Fatal(err)
		}
		r := importing(t, n, db, c.most, &weftv1.ImportRequest{
			Documents: [][]byte{doc(1), doc(1), doc(2), doc(2)}, Lines: []uint64{1, 3, 5, 6},
			Unread: []*weftv1.ImportFailure{unread(2), unread(7)},
		})
		if r.GetInserted() != 2 || r.GetFailed() != 4 || (r.GetStopped() != "") != c.stopped {
			t.Errorf("%s: %d inserted, %d failed, stopped by %.80q", db, r.GetInserted(), r.GetFailed(), r.GetStopped())
		}
		var lines []uint64
		for _, f := range r.GetFailures() {
			if lines = append(lines, f.GetLine()); len(f.GetMessage()) > 4<<10 || f.GetCode() == "" || !utf8.ValidString(f.GetMessage()) {
				t.Errorf("%s: line %d has %q and a sentence of %d bytes", db, f.GetLine(), f.GetCode(), len(f.GetMessage()))
			}
		}
		if !slices.Equal(lines, []uint64{2, 3, 6, 7}) {
			t.Errorf("%s: lines %v are listed", db, lines)
		}
	}
}
