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
// loss of power takes a second of it at most, and never both slots. Each opening makes
// it anew, with both slots; on a full disk the one that is there is kept, and says what
// it said.
const (
	witnessFile = "WITNESS"
	slotSize    = 16
	witnessSync = time.Second
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// A witness notes the position of each sync outside of what an engine keeps, so
// that an engine that lost its end, or all of it, is found out.
type witness struct {
	dir string

	mu       sync.Mutex // guards the fields below
	f        *os.File   // nil while a full disk has no room for one
	position uint64     // the last one noted
	writes   uint32
	synced   time.Time
}

// openWitness compares an engine's position with what the witness in dir says, and
// goes on from there. A folder without one has the store of an older release, or a
// new one. With forgive, what the witness says is forgotten.
func openWitness(dir string, position uint64, forgive bool) (*witness, error) {
	name := filepath.Join(dir, witnessFile)
	noted, writes, err := readWitness(name)
	if err != nil && !forgive {
		return nil, err
	}
	if position < noted && !forgive {
		return nil, fault.Of(ErrCorrupt, "%s lost what was durable: its files end at position %d, %d was written: run weft doctor", dir, position, noted)
	}
	w := &witness{dir: dir}
	err = w.renew(position)
	if !fault.NoRoom(err) || forgive {
		return w, w.writeError(err)
	}
	// That the position is durable is not sure either: the engine may have had no room to
	// save what it found in its log.
	w.position, w.writes = noted, writes
	w.f, err = os.OpenFile(name, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return w, nil
	}
	return w, w.writeError(err)
}

// renew makes the file anew, with both slots: it is never there without a whole one,
// and one that is damaged later is not the only one.
func (w *witness) renew(position uint64) error {
	name := filepath.Join(w.dir, witnessFile)
	f, err := os.OpenFile(name+".tmp", os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	w.f, w.writes = f, 0
	err = w.write(position)
	if err == nil {
		err = w.write(position)
	}
	w.f = nil
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(name+".tmp"))
	}
	if err := errors.Join(os.Rename(name+".tmp", name), durable.Folder(w.dir)); err != nil {
		return err
	}
	w.f, err = os.OpenFile(name, os.O_RDWR, 0)
	return err
}

// writeError tells a full disk apart: there the store is as it was.
func (w *witness) writeError(err error) error {
	if fault.NoRoom(err) {
		return DiskFull(w.dir)
	}
	if err != nil {
		return fmt.Errorf("write the store's witness: %w", err)
	}
	return nil
}

// Witnessed returns the position that the witness of the store in dir holds, 0 if
// there is none.
func Witnessed(dir string) (uint64, error) {
	position, _, err := readWitness(filepath.Join(dir, witnessFile))
	return position, err
}

// readWitness returns the position that a witness holds and the number of the next
// write, which leaves that slot alone; 0 if there is none. One that is there and has no
// whole slot is ErrCorrupt.
func readWitness(name string) (position uint64, writes uint32, err error) {
	b, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, 0, nil
	}
	if err != nil {
		return 0, 0, fmt.Errorf("read the store's witness: %w", err)
	}
	whole := false
	for ; len(b) >= slotSize; b = b[slotSize:] {
		if crc32.Checksum(b[:12], castagnoli) != binary.BigEndian.Uint32(b[12:]) {
			continue
		}
		if at := binary.BigEndian.Uint64(b); !whole || at > position {
			position, writes = at, binary.BigEndian.Uint32(b[8:])+1
		}
		whole = true
	}
	if !whole {
		return 0, 0, fault.Of(ErrCorrupt, "%s is damaged: run weft doctor (it has no whole entry)", name)
	}
	return position, writes, nil
}

// note writes down that everything up to a position is durable.
func (w *witness) note(position uint64) error {
	if w == nil {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if position <= w.position {
		return nil
	}
	if w.f == nil {
		return w.writeError(w.renew(position))
	}
	if err := w.write(position); err != nil {
		return w.writeError(err)
	}
	if time.Since(w.synced) < witnessSync {
		return nil
	}
	w.synced = time.Now()
	if err := w.f.Sync(); err != nil {
		return fmt.Errorf("sync the store's witness: %w", err)
	}
	return nil
}

// write fills the next slot; mu is held, or nobody knows the witness.
func (w *witness) write(position uint64) error {
	var slot [slotSize]byte
	binary.BigEndian.PutUint64(slot[:], position)
	binary.BigEndian.PutUint32(slot[8:], w.writes)
	binary.BigEndian.PutUint32(slot[12:], crc32.Checksum(slot[:12], castagnoli))
	if _, err := w.f.WriteAt(slot[:], int64(w.writes%2)*slotSize); err != nil {
		return err
	}
	w.writes++
	w.position = position
	return nil
}

func (w *witness) close() error {
	if w == nil {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.f == nil {
		return nil
	}
	return errors.Join(w.f.Sync(), w.f.Close())
}
