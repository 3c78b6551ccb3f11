package pebblekv

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"path/filepath"
	"slices"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/batchrepr"
	"github.com/cockroachdb/pebble/v2/record"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store"
)

// logBlock is the size of a block of a log: after a damage, reading goes on at the
// next one.
const logBlock = 32 << 10

// Salvage gives put what can be read of the store in dir, which is closed, whatever
// is wrong with it: of each key the newest version that is in a table or in the log,
// in no order, twice if it is in two tables. It does not need the MANIFEST, which only
// says which logs are of the past: without, a key may come as it was. It lists what it
// could not read.
func Salvage(ctx context.Context, dir string, put func(key, value []byte) error) ([]store.Damage, error) {
	s := &salvage{ctx: ctx, opt: optionsOf(Options{FS: vfs.Default, Logf: func(string, ...any) {}}, &pacer{}), seed: maphash.MakeSeed(), newest: map[uint64]uint64{}}
	s.opt.EnsureDefaults()
	tables, err := filepath.Glob(filepath.Join(dir, "*.sst"))
	if err != nil {
		return nil, err
	}
	manifest := (&edits{dir: dir}).check(s.opt.FS)
	logs, known, err := neededLogs(s.opt.FS, dir)
	if manifest == nil {
		manifest = err
	}
	// Once to find the newest version of each key, once to give it out.
	for _, pass := range []func(entry) error{s.note, func(e entry) error {
		if e.deleted || s.newest[s.hash(e.key)] != e.seq {
			return nil
		}
		return put(e.key, e.value)
	}} {
		s.lost, s.end = nil, known
		for _, name := range tables {
			if err := s.table(name, pass); err != nil {
				return nil, err
			}
		}
		for _, name := range logs {
			if err := s.log(name, pass); err != nil {
				return nil, err
			}
		}
	}
	if manifest != nil {
		s.lose(dir, nil, nil, fmt.Errorf("which files are of the past is not known: %w", manifest))
	}
	if len(tables)+len(logs) == 0 {
		s.lose(dir, nil, nil, errors.New("it holds no table and no log"))
	}
	// The end of a log that cannot be read may be what a loss of power left, or damage.
	if durable, err := store.Witnessed(dir); err == nil && s.end < durable {
		s.lose(dir, nil, nil, fmt.Errorf("its files end at position %d, %d was written", s.end, durable))
	}
	return s.lost, nil
}

// An entry is one version of a key.
type entry struct {
	key, value []byte // valid during the call
	seq        uint64
	deleted    bool
}

// A salvage reads the files of a store one by one.
type salvage struct {
	ctx    context.Context //nolint:containedctx // of the one Salvage
	opt    *pebble.Options
	seed   maphash.Seed
	newest map[uint64]uint64 // by hash of the key: sequence number
	lost   []store.Damage
	end    uint64 // the position of what was read
}

func (s *salvage) hash(key []byte) uint64 { return maphash.Bytes(s.seed, key) }

func (s *salvage) note(e entry) error {
	h := s.hash(e.key)
	s.newest[h] = max(s.newest[h], e.seq)
	return nil
}

func (s *salvage) lose(file string, lower, upper []byte, why error) {
	s.lost = append(s.lost, store.Damage{
		File: file, Lower: slices.Clone(lower), Upper: slices.Clone(upper), Err: fault.Of(store.ErrCorrupt, "%s is damaged: %v", file, why),
	})
}

// table gives the versions in a table, from both ends to what cannot be read.
func (s *salvage) table(name string, give func(entry) error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			s.lose(name, nil, nil, fmt.Errorf("unreadable: %v", r))
			err = nil
		}
	}()
	r, err := openTable(s.opt, name)
	if err != nil {
		s.lose(name, nil, nil, err)
		return nil
	}
	defer r.Close()
	it, err := r.NewIter(sstable.NoTransforms, nil, nil, sstable.AssertNoBlobHandles)
	if err != nil {
		s.lose(name, nil, nil, err)
		return nil
	}
	defer it.Close()
	var stop error // put's error
	var at []byte  // the last key given
	take := func(k pebble.InternalKey, value func([]byte) ([]byte, bool, error)) bool {
		v, _, err := value(nil)
		if err != nil {
			s.lose(name, k.UserKey, append(slices.Clone(k.UserKey), 0), err)
			return true
		}
		at = append(at[:0], k.UserKey...)
		if stop = s.ctx.Err(); stop == nil {
			stop = give(entry{k.UserKey, v, uint64(k.SeqNum()), deletes(k.Kind())})
		}
		return stop == nil
	}
	for kv := it.First(); kv != nil && take(kv.K, kv.Value); kv = it.Next() {
	}
	why := it.Error()
	if stop != nil || why == nil {
		return stop
	}
	lower := slices.Clone(at)
	at = nil
	for kv := it.Last(); kv != nil && bytes.Compare(kv.K.UserKey, lower) > 0 && take(kv.K, kv.Value); kv = it.Prev() {
	}
	s.lose(name, lower, at, why)
	return stop
}

// log gives the versions in a log. After a damage it goes on with the next block.
func (s *salvage) log(name string, give func(entry) error) error {
	f, err := s.opt.FS.Open(name)
	if err != nil {
		s.lose(name, nil, nil, err)
		return nil
	}
	defer f.Close()
	all, err := io.ReadAll(f)
	if err != nil {
		s.lose(name, nil, nil, err)
		return nil
	}
	num, _ := logNumber(name)
	var gap error // why the records ended, until one is read behind
	for from := 0; from < len(all); {
		in := &counter{Reader: bytes.NewReader(all[from:])}
		read, why, err := s.records(readLog(record.NewReader, io.Reader(in), num), in, give)
		if err != nil {
			return err
		}
		if read > 0 && gap != nil {
			s.lose(name, nil, nil, gap)
		}
		if errors.Is(why, io.EOF) {
			break
		}
		gap = why
		from += max(0, read-1)/logBlock*logBlock + logBlock
	}
	return nil
}

// A counter counts what was read of a log.
type counter struct {
	*bytes.Reader
	n int
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n += n
	return n, err
}

// records gives what is in the records of a log. It returns how far in had been read
// when the last of them was, and why they end.
func (s *salvage) records(records *record.Reader, in *counter, give func(entry) error) (read int, why, err error) {
	for {
		r, err := records.Next()
		var p []byte
		if err == nil {
			p, err = io.ReadAll(r)
		}
		if err != nil {
			return read, err, nil
		}
		read = in.n
		if len(p) < batchHeader {
			continue
		}
		seq := binary.LittleEndian.Uint64(p)
		s.end = max(s.end, seq+uint64(binary.LittleEndian.Uint32(p[8:])))
		for ops := batchrepr.Reader(p[batchHeader:]); len(ops) > 0; seq++ {
			kind, key, value, ok, err := ops.Next()
			if err != nil || !ok {
				break
			}
			if kind == pebble.InternalKeyKindLogData {
				seq--
				continue
			}
			if err := s.ctx.Err(); err != nil {
				return read, nil, err
			}
			if err := give(entry{key, value, seq, deletes(kind)}); err != nil {
				return read, nil, err
			}
		}
	}
}

// deletes reports whether a version says that the key is gone.
func deletes(kind pebble.InternalKeyKind) bool {
	return kind == pebble.InternalKeyKindDelete || kind == pebble.InternalKeyKindSingleDelete || kind == pebble.InternalKeyKindDeleteSized
}
