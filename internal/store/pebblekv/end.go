package pebblekv

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2/record"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store"
)

// batchHeader is sequence number u64le ‖ count u32le, before the operations of a
// batch.
const batchHeader = 12

// firstPosition is that of an empty store: pebble keeps the numbers before to itself.
const firstPosition = 10

// checkEnd compares up to where the files of a store go with what was durable. Pebble
// takes a log that is damaged for one that ends there, writes what came before to a
// table and deletes the log: nothing of that may happen before this.
func checkEnd(files vfs.FS, dir string, durable uint64) error {
	if durable == 0 {
		return nil
	}
	// How the MANIFEST ends is compared with EDITS. Behind that its end may be torn.
	logs, end, _ := neededLogs(files, dir)
	end = max(end, firstPosition)
	for _, name := range logs {
		if end >= durable {
			break
		}
		to, err := logEnd(files, name)
		if err != nil {
			return err
		}
		end = max(end, to)
	}
	if end < durable {
		return fault.Of(store.ErrCorrupt, "%s lost what was durable: its files end at position %d, %d was written: run weft doctor", dir, end, durable)
	}
	return nil
}

// logEnd returns the position after the last record of a log, read as pebble reads it.
func logEnd(files vfs.FS, name string) (end uint64, err error) {
	f, err := files.Open(name)
	if err != nil {
		return 0, fmt.Errorf("read the store's log: %w", err)
	}
	defer f.Close()
	num, _ := logNumber(name)
	for records := readLog(record.NewReader, io.Reader(f), num); ; {
		r, err := records.Next()
		var header [batchHeader]byte
		if err == nil {
			_, err = io.ReadFull(r, header[:])
		}
		if err == nil {
			_, err = io.Copy(io.Discard, r)
		}
		if err != nil {
			return end, nil //nolint:nilerr // here pebble ends too, or says what is wrong
		}
		end = max(end, binary.LittleEndian.Uint64(header[:])+uint64(binary.LittleEndian.Uint32(header[8:])))
	}
}

// neededLogs returns the names of the logs whose records are in no table yet, in order,
// and the position that the newest MANIFEST knows. The error says why there may be more
// to know.
func neededLogs(files vfs.FS, dir string) (logs []string, position uint64, err error) {
	first, position, err := newestEdits(files, dir)
	names, failed := files.List(dir)
	if failed != nil {
		return nil, 0, fmt.Errorf("read the store's folder: %w", failed)
	}
	slices.Sort(names)
	for _, name := range names {
		if n, ok := logNumber(name); ok && n >= first {
			logs = append(logs, filepath.Join(dir, name))
		}
	}
	return logs, position, err
}

// syncLogs makes durable what the logs hold that are still needed.
func syncLogs(files vfs.FS, dir string) error {
	logs, _, err := neededLogs(files, dir)
	for _, name := range logs {
		f, failed := files.Open(name)
		if failed == nil {
			failed = errors.Join(f.Sync(), f.Close())
		}
		err = errors.Join(err, failed)
	}
	return err
}

// logNumber returns the number in the name of a log.
func logNumber(name string) (n uint64, ok bool) {
	_, err := fmt.Sscanf(filepath.Base(name), "%d.log", &n)
	return n, err == nil
}

// newestEdits returns what the newest MANIFEST that can be read says: the number of
// the oldest log that is still needed, and the position that it knows; 0 if none can.
// The error says why there may be more to know.
func newestEdits(files vfs.FS, dir string) (log, position uint64, damage error) {
	names, err := files.List(dir)
	if err != nil {
		return 0, 0, err
	}
	names = slices.DeleteFunc(names, func(name string) bool { return !strings.HasPrefix(name, "MANIFEST-") })
	slices.Sort(names)
	whole := false
	for _, name := range slices.Backward(names) {
		name = filepath.Join(dir, name)
		p, err := readFile(files, name)
		if err == nil {
			var seq uint64
			log, seq, err = readEdits(p)
			position = max(position, seq+1)
			whole = whole || err == nil
		}
		if err != nil && damage == nil {
			damage = fmt.Errorf("%s: %w", name, err)
		}
		if log > 0 { // up to where it is whole; one that was just begun does not say
			return log, position, damage
		}
	}
	if damage == nil && !whole {
		damage = errors.New("it has no MANIFEST")
	}
	return 0, position, damage
}

// readLog reads a log by its number, whose type pebble keeps to itself.
func readLog[Number ~uint64](open func(io.Reader, Number) *record.Reader, r io.Reader, num uint64) *record.Reader {
	return open(r, Number(num))
}
