package logstore

import (
	"context"
	"slices"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/net/internal/format"
)

// EachRun calls f with what is left of the logs of a thread, control logs first, a run up to
// each signed position. It returns how many records were in no run, or are those of which f
// says that they were left.
func (t Table) EachRun(ctx context.Context, r store.Reader, id format.ThreadID, f func(format.Run) (left int, err error)) (left int64, err error) {
	descriptors, err := t.Descriptors(r)
	if err != nil {
		return 0, err
	}
	for _, kind := range []format.LogKind{format.KindControl, format.KindSnapshot, format.KindData} {
		for log, raw := range descriptors {
			d, err := format.DecodeDescriptor(raw)
			if err != nil || d.Kind != kind {
				continue
			}
			n, err := t.eachRunOf(ctx, r, id, log, raw, f)
			if left += n; err != nil {
				return left, err
			}
		}
	}
	return left, nil
}

// eachRunOf is EachRun of one log. Of a forked log the branches are told apart by the
// previous hashes.
func (t Table) eachRunOf(ctx context.Context, r store.Reader, id format.ThreadID, log uint32, descriptor []byte, f func(format.Run) (int, error)) (left int64, err error) {
	lines := map[clock.Hash][]format.Record{} // records that no signed one covers yet, by the hash of the last
	err = t.EachRecord(r, log, func(_, v []byte) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		s, err := format.DecodeStored(slices.Clone(v))
		if err != nil {
			left++
			return nil
		}
		h, err := format.DecodeHeader(s.Header)
		if err != nil {
			left++
			return nil
		}
		line := append(slices.Clip(lines[h.Prev]), s.Record)
		delete(lines, h.Prev)
		hash := format.RecordHash(id, s.Header)
		if !s.Signed {
			lines[hash] = line
			return nil
		}
		n, err := f(format.Run{Descriptor: descriptor, Records: line, Signature: s.Signature})
		left += int64(n)
		return err
	})
	for _, line := range lines {
		left += int64(len(line))
	}
	return left, err
}
