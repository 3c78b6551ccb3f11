package held

import (
	"context"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/net/internal/format"
	"github.com/weftdb/weft/net/internal/logstore"
)

// Names finds the names of blobs in the records of logs, as far as the layers above know them.
type Names struct {
	Thread  format.ThreadID
	Rows    logstore.Table
	Logs    []*Log
	Open    func(id clock.RecordID, r format.Record) (format.Entry, error)
	Payload func(payload []byte, named func(id format.BlobID, list bool))
	Lists   func(plain []byte) []format.BlobID
}

// List returns the blobs that a plaintext lists.
func (n *Names) List(plain []byte) []format.BlobID { return n.Lists(plain) }

// Records calls named with what may be the name of a blob, in all stored records.
func (n *Names) Records(ctx context.Context, r store.Reader, named func(format.BlobID, bool) error) error {
	for _, l := range n.Logs {
		if err := n.log(ctx, r, l, named); err != nil {
			return err
		}
	}
	return nil
}

func (n *Names) log(ctx context.Context, r store.Reader, l *Log, named func(format.BlobID, bool) error) error {
	return n.Rows.EachRecord(r, l.Num, func(key, v []byte) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		s, err := format.DecodeStored(v)
		if err != nil {
			return err
		}
		id := clock.RecordID{Log: l.ID, Seq: logstore.SeqOf(key), Hash: format.RecordHash(n.Thread, s.Header)}
		e, err := n.Open(id, s.Record)
		if err != nil {
			if n.Rows.IsRefused(r, key) {
				return nil // it has no effect, whatever it names
			}
			return err
		}
		var failed error
		n.Payload(e.Payload, func(id format.BlobID, list bool) {
			if failed == nil {
				failed = named(id, list)
			}
		})
		return failed
	})
}
