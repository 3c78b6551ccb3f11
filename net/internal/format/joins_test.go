package format

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/weftdb/weft/internal/clock"
)

// A list of joins is sorted, has each once, and is bounded.
func TestListsOfJoinsAreStrict(t *testing.T) {
	a, b := fill[clock.Hash](1), fill[clock.Hash](2)
	most := make([]clock.Hash, MaxJoins+1)
	for i := range most {
		most[i] = clock.Hash{byte(i >> 8), byte(i)}
	}
	for _, op := range []Op{OpClose, OpAdmit} {
		for _, bad := range [][]clock.Hash{{b, a}, {a, a}, most} {
			if _, err := DecodeControl((&Control{Op: op, Joins: bad}).Encode()); !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrTooLarge) {
				t.Errorf("%s of %d joins: got %v", op, len(bad), err)
			}
		}
		for _, good := range [][]clock.Hash{nil, {a}, {a, b}, most[:MaxJoins]} {
			c := &Control{Op: op, Joins: good}
			got, err := DecodeControl(c.Encode())
			if err != nil || !slices.Equal(got.Joins, good) || !bytes.Equal(got.Encode(), c.Encode()) {
				t.Errorf("%s of %d joins: got %d, %v", op, len(good), len(got.Joins), err)
			}
		}
	}
	cut := codec.Encode(&controlWire{Op: OpAdmit, Body: codec.Encode(&admitWire{Joins: make([]byte, 33)})})
	if _, err := DecodeControl(cut); !errors.Is(err, ErrMalformed) {
		t.Errorf("got %v of a list that is cut", err)
	}
}

// Whoever has an invite's secret makes joins, so they are small.
func TestJoinsAreSmall(t *testing.T) {
	p := (&Control{Op: OpJoin, Certificate: make([]byte, 512), Data: make([]byte, 60)}).Encode()
	if _, err := DecodeControl(p); err != nil {
		t.Error(err)
	}
	if p = (&Control{Op: OpJoin, Certificate: make([]byte, 1024)}).Encode(); len(p) < maxJoin {
		t.Fatal("the join is no test")
	}
	if _, err := DecodeControl(p); !errors.Is(err, ErrTooLarge) {
		t.Errorf("got %v, want ErrTooLarge", err)
	}
}
