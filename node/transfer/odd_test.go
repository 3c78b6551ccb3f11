package transfer

import (
	"bytes"
	"math"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/x/bsonx/bsoncore"
)

func first(t *testing.T, text string, o ReaderOptions) bson.Raw {
	t.Helper()
	r, err := NewReader(strings.NewReader(text), o)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	it, err := r.Next()
	if err != nil || it.Err != nil {
		t.Fatal(err, it.Err)
	}
	return it.Document
}

// What BSON leaves a choice for, and other programs write otherwise, becomes the one form
// that databases keep.
func TestOddBSON(t *testing.T) {
	build := func(nan float64, high, low uint64, keys [2]string) bson.Raw {
		list := bsoncore.NewDocumentBuilder().AppendDouble(keys[0], nan).AppendInt32(keys[1], 2).Build()
		return bson.Raw(bsoncore.NewDocumentBuilder().AppendInt32("_id", 1).AppendDouble("n", nan).AppendDecimal128("d", high, low).
			AppendArray("l", list).AppendDocument("s", bsoncore.NewDocumentBuilder().AppendArray("l", list).Build()).Build())
	}
	odd := build(math.Float64frombits(0xfff8000000000001), 0xfc00000000000000, 7, [2]string{"a", "a"})
	want := build(math.Float64frombits(0x7ff8000000000000), 0x7c00000000000000, 0, [2]string{"0", "1"})
	for _, doc := range []bson.Raw{odd, want} {
		if got := first(t, string(doc), ReaderOptions{Type: BSON}); !bytes.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	}
}

// A byte order mark is not of the text: documents get the same _id without it.
func TestByteOrderMark(t *testing.T) {
	const mark, text = "\xef\xbb\xbf", "{\"a\": 1}\n"
	if with, without := first(t, mark+text, ReaderOptions{}), first(t, text, ReaderOptions{}); !bytes.Equal(with, without) {
		t.Errorf("with the mark %v, without %v", with, without)
	}
}
