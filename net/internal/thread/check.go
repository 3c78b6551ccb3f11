package thread

import (
	"context"

	"github.com/weftdb/weft/net/internal/format"
	"github.com/weftdb/weft/net/internal/logstore"
)

// A Checked says what [Thread.Check] has read.
type Checked struct {
	Records, Blobs int64
	Bytes          int64 // of both
}

// Check reads everything that is stored of the thread and reports what is not as it
// was written: chains of hashes, signatures, bodies, positions, arrival numbers,
// blobs. What is reported is of kind corrupt, one sentence each; blobs that [Thread.DropBlobs]
// would drop are altered. pace, which may be nil, is told how many bytes were read and may
// wait; its error ends the check. The error of Check is of reading, not of what was read.
func (t *Thread) Check(ctx context.Context, pace func(bytes int) error, report func(error), altered func(format.BlobID, error)) (Checked, error) {
	if pace == nil {
		pace = func(int) error { return nil }
	}
	var out Checked
	read := func(n int) error {
		out.Bytes += int64(n)
		if err := ctx.Err(); err != nil {
			return err
		}
		return pace(n)
	}
	defer t.HoldBlobs()() // files are not of the snapshot
	snap := t.env.store.Snapshot()
	defer snap.Release()
	t.mu.Lock()
	logs := make([]logstore.Held, len(t.byNum))
	for i, l := range t.byNum {
		logs[i] = logstore.Held{Log: l.Log, Floor: l.Floor.Top()}
		if len(l.Branches) == 1 && !l.Branches[0].Void && len(l.Floor) > 0 {
			logs[i].Floor = l.Branches[0].From.Seq
		}
		for _, b := range l.Branches {
			logs[i].Branches = append(logs[i].Branches, b.Num)
		}
	}
	t.mu.Unlock()
	var err error
	if out.Records, err = t.rows.Check(snap, logs, !t.relay, read, report); err != nil {
		return out, err
	}
	out.Blobs, err = t.blobs.Check(snap, read, report, altered)
	return out, err
}
