package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/weftdb/weft/internal/durable"
	"github.com/weftdb/weft/internal/fault"
)

// witnessFile is beside an engine's files and says up to where they were durable. It
// has two slots of 16 bytes, written in turn:
//
//	position u64be ‖ number of the write u32be ‖ CRC-32C of the 12 bytes before u32be
//
// Of the slots that are whole the one with the higher position counts. A slot is
// written in place after each sync, without a sync of its own: what a process wrote
// stays when it is killed. Once in a while and at the end it is synced, so that a
// loss of power takes a second of it at most, and never both slots.
const (
	witnessFile = "WITNESS"
	slotSize    = 16
	witnessSync = time.Second
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// A witness notes the position of each sync outside of what an engine keeps, so
// that an engine that lost its end, or all of it, is found out.
type witness struct {
	mu       sync.Mutex // guards the fields below
	f        *os.File
	position uint64 // the last one noted
	writes   uint32
	synced   time.Time
}

// openWitness compares an engine's position with what the witness in dir says, and
// goes on from there. A folder without one has the store of an older release, or a
// new one. With forgive, what the witness says is forgotten.
func openWitness(dir string, position uint64, forgive bool) (*witness, error) {
	name := filepath.Join(dir, witnessFile)
	noted, err := readWitness(name)
	if err != nil && !forgive {
		return nil, err
	}
	if position < noted && !forgive {
		return nil, fault.Of(ErrCorrupt, "%s lost what was durable: its files end at position %d, %d was written: run weft doctor", dir, position, noted)
	}
	// Made anew, with both slots: it is never there without a whole one, and one that is
	// damaged later is not the only one.
	f, err := os.OpenFile(name+".tmp", os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, witnessError(err)
	}
	w := &witness{f: f}
	err = errors.Join(w.note(position), w.note(position), f.Sync(), f.Close())
	if err == nil {
		err = errors.Join(os.Rename(name+".tmp", name), durable.Folder(dir))
	}
	if err == nil {
		w.f, err = os.OpenFile(name, os.O_RDWR, 0)
	}
	if err != nil {
		return nil, witnessError(err)
	}
	return w, nil
}

// witnessError tells a full disk apart: there the store is as it was.
func witnessError(err error) error {
	if fault.NoRoom(err) {
		return fault.Of(ErrDiskFull, "write the store's witness: %v", err)
	}
	return fmt.Errorf("write the store's witness: %w", err)
}

// Witnessed returns the position that the witness of the store in dir holds, 0 if
// there is none.
func Witnessed(dir string) (uint64, error) { return readWitness(filepath.Join(dir, witnessFile)) }

// readWitness returns the position that a witness holds, 0 if there is none. One
// that is there and has no whole slot is ErrCorrupt.
func readWitness(name string) (uint64, error) {
	b, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read the store's witness: %w", err)
	}
	position, whole := uint64(0), false
	for ; len(b) >= slotSize; b = b[slotSize:] {
		if crc32.Checksum(b[:12], castagnoli) == binary.BigEndian.Uint32(b[12:]) {
			position, whole = max(position, binary.BigEndian.Uint64(b)), true
		}
	}
	if !whole {
		return 0, fault.Of(ErrCorrupt, "%s is damaged: it has no whole entry: run weft doctor", name)
	}
	return position, nil
}

// note writes down that everything up to a position is durable.
func (w *witness) note(position uint64) error {
	if w == nil {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.writes > 1 && position <= w.position {
		return nil
	}
	var slot [slotSize]byte
	binary.BigEndian.PutUint64(slot[:], position)
	binary.BigEndian.PutUint32(slot[8:], w.writes)
	binary.BigEndian.PutUint32(slot[12:], crc32.Checksum(slot[:12], castagnoli))
	if _, err := w.f.WriteAt(slot[:], int64(w.writes%2)*slotSize); err != nil {
		return witnessError(err)
	}
	w.writes++
	w.position = position
	if time.Since(w.synced) < witnessSync {
		return nil
	}
	w.synced = time.Now()
	if err := w.f.Sync(); err != nil {
		return fmt.Errorf("sync the store's witness: %w", err)
	}
	return nil
}

func (w *witness) close() error {
	if w == nil {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return errors.Join(w.f.Sync(), w.f.Close())
}
