// Package homenote keeps what a home notes beside its store: its databases and their
// keys, relays and peers, how far the own logs were durable, and what was lost. A store
// that lost something is not taken for a whole one, and a lost one does not take with it
// what is needed to get the databases back.
package homenote

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"sync"

	"github.com/weftdb/weft/internal/canonical"
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/durable"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/net"
)

// A home notes what it has beside its store, so that a store that lost something is
// not taken for a whole one, and a lost one does not take with it what is needed to
// get the databases back:
//
//	file  = "weft note 1\n" ‖ entry… ‖ zeros
//	entry = length u32be ‖ kind byte ‖ body ‖ SHA-256(length ‖ kind ‖ body)
//	length counts the body; 0 is the end: what follows is room for more
//
// A later entry of a thing replaces an earlier one. Entries are written into zeros
// that are there already, so that noting needs no room on a full disk. Keys are
// sealed to the device, whose own key a passphrase seals if the home has one.
const (
	noteMagic  = "weft note 1\n"
	noteGrows  = 64 << 10 // bytes of zeros that are added at once
	noteSpare  = 8 << 10  // bytes of zeros that there always are
	maxNoted   = 1 << 20  // of one entry
	noteFrame  = 4 + 1 + sha256.Size
	MaxHeads   = 1 << 10 // own logs of one database
	maxAddrs   = 64      // of peers
	maxNesting = 8
)

// The kinds of entries.
const (
	notedDatabase = 1 + iota // Database
	notedHeads               // headsNote
	notedRemoved             // thread ID
	notedRelays              // [Relay…]
	notedPeers               // [address…]
	notedLoss                // Loss
	notedEnd                 // position of the store when own logs were noted last, at its end
	notedOwner               // the device whose home it is
)

var noteCodec = canonical.New(canonical.Options{
	Elements: 4096, Nesting: maxNesting, Malformed: ErrDamaged, TooLarge: ErrDamaged,
})

// ErrDamaged reports a note that is not what a node wrote.
var ErrDamaged = fault.New(fault.Corrupt, "the home's note of its databases is damaged")

// A Database is a database as the note has it.
type Database struct {
	_          struct{} `cbor:",toarray"`
	Thread     net.ThreadID
	Number     uint64
	Name       string
	Genesis    []byte
	Keys       []byte
	Rebuilding bool // what its peers hold has not come back yet
}

// A headsNote is how far the own logs of a database were durable.
type headsNote struct {
	_      struct{} `cbor:",toarray"`
	Thread net.ThreadID
	Heads  []Head
}

// A Head is the last record of a log that was durable.
type Head struct {
	_    struct{} `cbor:",toarray"`
	Log  clock.LogID
	Seq  uint64
	Hash clock.Hash
}

// A Relay is a relay; its key's secret is in a key file.
type Relay struct {
	_         struct{} `cbor:",toarray"`
	Addr      string
	Key       string
	Databases []string
}

// A Note is the open file. It is safe for concurrent use. What memory has is never less
// than the file: a value is taken in first, and one that could not be written is written
// with the next.
type Note struct {
	path string

	mu        sync.Mutex // guards what follows
	f         *os.File
	end, size int64 // of the entries; of the file
	crowded   int64 // the end after which it is looked whether a rewrite pays
	databases map[net.ThreadID]*Noted
	relays    []Relay
	peers     []string
	owner     []byte // the device's public key; nil: it is not said
	stale     bool   // the file lacks what memory has: a write failed
	ended     uint64 // the store's position at which the heads are all that there was; 0: not known
}

// A Noted is what the note has of one database.
type Noted struct {
	Database
	Heads []Head
	Loss  *Loss // nil if nothing is known to be lost
}

// Open reads the note of a device's home, or begins one. was says what was wrong with it,
// "" if nothing. A note that was damaged is written anew at once, of what is left, so that
// the next damage is not read as this one; that of another home says nothing of this one. A
// fresh one is empty, and the node fills it from the store.
func Open(path string, owner []byte) (_ *Note, was string, err error) {
	n := &Note{path: path, databases: map[net.ThreadID]*Noted{}}
	b, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, "", fmt.Errorf("the home's note: %w: make %s a file that can be read, or remove it: it is made anew from the store", err, path)
	}
	fresh := err != nil
	if !fresh && n.read(b) {
		was, n.ended = "was damaged", 0 // heads may be what is missing
	}
	if n.owner != nil && !bytes.Equal(n.owner, owner) {
		was = "was that of another home"
		n = &Note{path: path, databases: map[net.ThreadID]*Noted{}}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	said := n.owner != nil
	n.owner = owner
	if fresh || was != "" {
		return n, was, n.rewrite()
	}
	if err := n.reopen(); err != nil || said {
		return n, "", err
	}
	return n, "", n.write(appendEntry(nil, notedOwner, owner))
}

// read takes the entries in. One that is damaged is passed over. Each entry has its own
// hash, so that one which is damaged costs itself only, as long as its length can be
// believed. Zeros follow the end: anything else there is an entry whose length was lost.
func (n *Note) read(b []byte) (damaged bool) {
	if !bytes.HasPrefix(b, []byte(noteMagic)) {
		return true
	}
	at := len(noteMagic)
	for at+4 <= len(b) {
		size := int(binary.BigEndian.Uint32(b[at:]))
		if size == 0 {
			break
		}
		if size > maxNoted || at+noteFrame+size > len(b) {
			damaged = true // or the end of an entry that a crash cut off
			break
		}
		covered := b[at : at+5+size]
		sum := sha256.Sum256(covered)
		if !bytes.Equal(sum[:], b[at+5+size:at+noteFrame+size]) || n.take(covered[4], covered[5:]) != nil {
			damaged = true
		}
		at += noteFrame + size
	}
	n.end, n.size = int64(at), int64(len(b))
	for _, v := range b[min(at, len(b)):] {
		damaged = damaged || v != 0
	}
	n.crowded = 4*int64(len(n.encode())) + noteGrows
	return damaged
}

// take takes one entry in. Positions or a loss of a database that the note does not have,
// as after a removal, are passed over.
func (n *Note) take(kind byte, body []byte) error {
	switch kind {
	case notedDatabase:
		var d Database
		if err := noteCodec.Decode(body, "a database", &d); err != nil {
			return err
		}
		n.database(d.Thread).Database = d
	case notedHeads:
		var h headsNote
		if err := noteCodec.Decode(body, "positions", &h); err != nil {
			return err
		}
		if d := n.databases[h.Thread]; d != nil {
			d.Heads = h.Heads
		}
	case notedRemoved:
		var id net.ThreadID
		if err := noteCodec.Decode(body, "a removal", &id); err != nil {
			return err
		}
		delete(n.databases, id)
	case notedRelays:
		var relays []Relay
		if err := noteCodec.Decode(body, "relays", &relays); err != nil {
			return err
		}
		n.relays = relays
	case notedPeers:
		var peers []string
		if err := noteCodec.Decode(body, "peers", &peers); err != nil {
			return err
		}
		n.peers = peers
	case notedLoss:
		var l Loss
		if err := noteCodec.Decode(body, "a loss", &l); err != nil {
			return err
		}
		if d := n.databases[l.Thread]; d != nil {
			if d.Loss = &l; l.How == None {
				d.Loss = nil
			}
		}
	case notedOwner:
		return noteCodec.Decode(body, "an owner", &n.owner)
	case notedEnd:
		return noteCodec.Decode(body, "an end", &n.ended)
	default:
		return fault.Of(ErrDamaged, "an entry of unknown kind %d", kind)
	}
	return nil
}

func (n *Note) database(id net.ThreadID) *Noted {
	d := n.databases[id]
	if d == nil {
		d = &Noted{}
		n.databases[id] = d
	}
	return d
}

// appendEntry appends an entry in its frame.
func appendEntry(b []byte, kind byte, v any) []byte {
	body := noteCodec.Encode(v)
	at := len(b)
	b = append(append(binary.BigEndian.AppendUint32(b, uint32(len(body))), kind), body...)
	sum := sha256.Sum256(b[at:])
	return append(b, sum[:]...)
}

// encode returns the whole note, without the room at its end.
func (n *Note) encode() []byte {
	b := []byte(noteMagic)
	if n.owner != nil {
		b = appendEntry(b, notedOwner, n.owner)
	}
	for _, d := range n.sorted() {
		b = appendEntry(b, notedDatabase, d.Database)
		if len(d.Heads) > 0 {
			b = appendEntry(b, notedHeads, headsNote{Thread: d.Thread, Heads: d.Heads})
		}
		if d.Loss != nil {
			b = appendEntry(b, notedLoss, *d.Loss)
		}
	}
	if len(n.relays) > 0 {
		b = appendEntry(b, notedRelays, n.relays)
	}
	if len(n.peers) > 0 {
		b = appendEntry(b, notedPeers, n.peers)
	}
	if n.ended > 0 {
		b = appendEntry(b, notedEnd, n.ended)
	}
	return b
}

// sorted returns the databases by number.
func (n *Note) sorted() []*Noted {
	out := make([]*Noted, 0, len(n.databases))
	for _, d := range n.databases {
		out = append(out, d)
	}
	slices.SortFunc(out, func(a, b *Noted) int {
		return cmp.Or(cmp.Compare(a.Number, b.Number), bytes.Compare(a.Thread[:], b.Thread[:]))
	})
	return out
}

// rewrite replaces the file by one of what counts. An error leaves the file as it is. n.mu
// is held, here and in what follows down to close.
func (n *Note) rewrite() error {
	b := n.encode()
	end := len(b)
	b = append(b, make([]byte, (end+noteSpare)/noteGrows*noteGrows+noteGrows-end)...)
	if err := durable.WriteFile(n.path, b); err != nil {
		return fmt.Errorf("the home's note: %w", err)
	}
	n.end, n.size = int64(end), int64(len(b))
	n.crowded = 4*n.end + noteGrows
	return errors.Join(n.close(), n.reopen())
}

func (n *Note) reopen() (err error) {
	if n.f, err = os.OpenFile(n.path, os.O_RDWR, 0o600); err != nil {
		return fmt.Errorf("the home's note: %w", err)
	}
	return nil
}

// write adds entries that were taken in, durably. After an error the file lacks what
// memory has: the next write, also one of nothing, writes all of it.
func (n *Note) write(entries []byte) error {
	switch {
	case len(entries) == 0 && !n.stale:
		return nil
	case n.f == nil:
		return fault.Errorf(fault.Closed, "the home's note is closed")
	case n.stale:
		err := n.rewrite()
		n.stale = err != nil
		return err
	}
	err := n.append(entries)
	n.stale = err != nil
	return err
}

// append adds entries at the end of the file, or rewrites it. A crash leaves an entry whose
// hash does not fit, which the next Open passes over. The file is rewritten when about
// three of four bytes count no more.
func (n *Note) append(entries []byte) error {
	end := n.end + int64(len(entries))
	if end > n.crowded {
		if n.crowded = 4*int64(len(n.encode())) + noteGrows; end > n.crowded && n.rewrite() == nil {
			return nil
		} // on a full disk there is no room for another file, but there may be in this one
	}
	if end > n.size {
		if err := n.grow(end); err != nil {
			return err
		}
	}
	_, err := n.f.WriteAt(entries, n.end)
	if err == nil {
		err = n.f.Sync()
	}
	if err != nil {
		return fmt.Errorf("the home's note: %w", err)
	}
	if n.end = end; n.size-n.end < noteSpare {
		_ = n.grow(n.end) // on a full disk, later
	}
	return nil
}

// grow adds zeros, so that there is room after end.
func (n *Note) grow(end int64) error {
	size := (end+noteSpare)/noteGrows*noteGrows + noteGrows
	if _, err := n.f.WriteAt(make([]byte, size-n.size), n.size); err != nil {
		return fmt.Errorf("the home's note: %w", err)
	}
	if err := n.f.Sync(); err != nil {
		return fmt.Errorf("the home's note: %w", err)
	}
	n.size = size
	return nil
}

func (n *Note) close() error {
	if n.f == nil {
		return nil
	}
	err := n.f.Close()
	n.f = nil
	return err
}

// Close ends the use of the file.
func (n *Note) Close() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.close()
}

// add takes values in and writes those that say something new.
func (n *Note) add(kind byte, v any) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.addLocked(kind, v)
}

func (n *Note) addLocked(kind byte, v any) error {
	entry := appendEntry(nil, kind, v)
	if len(entry) > maxNoted {
		return fault.Of(ErrDamaged, "an entry of %d bytes", len(entry))
	}
	if err := n.take(kind, entry[5:len(entry)-sha256.Size]); err != nil {
		return err
	}
	return n.write(entry)
}

// Lose notes what of a database is not there any more.
func (n *Note) Lose(l Loss) error { return n.add(notedLoss, l) }

// Flush writes what an earlier write could not.
func (n *Note) Flush() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.write(nil)
}

// Keep notes a database.
func (n *Note) Keep(d Database) error { return n.add(notedDatabase, d) }

// Remove forgets a database.
func (n *Note) Remove(id net.ThreadID) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.databases[id] == nil {
		return n.write(nil)
	}
	return n.addLocked(notedRemoved, id)
}

// Reached notes how far the own logs of databases are durable: one sync for all that
// is new.
func (n *Note) Reached(all map[net.ThreadID][]clock.RecordID) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	var entries []byte
	for id, own := range all {
		d := n.databases[id]
		heads := headsOf(own)
		if d == nil || slices.Equal(d.Heads, heads) {
			continue
		}
		d.Heads = heads
		entries = appendEntry(entries, notedHeads, headsNote{Thread: id, Heads: heads})
	}
	return n.write(entries)
}

// Complete notes that the heads are all that the store has at its end.
func (n *Note) Complete(position uint64) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ended == position {
		return nil
	}
	return n.addLocked(notedEnd, position)
}

// CompleteAt reports whether the heads are all that a store had that ended at a position.
func (n *Note) CompleteAt(position uint64) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return position > 0 && n.ended == position
}

// headsOf returns positions in a fixed order; of very many logs the longest.
func headsOf(own []clock.RecordID) []Head {
	heads := make([]Head, len(own))
	for i, id := range own {
		heads[i] = Head{Log: id.Log, Seq: id.Seq, Hash: id.Hash}
	}
	slices.SortFunc(heads, func(a, b Head) int {
		return cmp.Or(-cmp.Compare(a.Seq, b.Seq), bytes.Compare(a.Log[:], b.Log[:]))
	})
	return heads[:min(len(heads), MaxHeads)]
}

// SetRelays notes the relays of the node.
func (n *Note) SetRelays(relays []Relay) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	same := slices.EqualFunc(n.relays, relays, func(a, b Relay) bool {
		return a.Addr == b.Addr && a.Key == b.Key && slices.Equal(a.Databases, b.Databases)
	})
	if same {
		return n.write(nil)
	}
	return n.addLocked(notedRelays, relays)
}

// SetPeers notes where peers of the databases are, before those that it has: an old
// address may be all that is left.
func (n *Note) SetPeers(addrs []string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	var all []string
	for _, a := range slices.Concat(addrs, n.peers) {
		if len(all) < maxAddrs && !slices.Contains(all, a) {
			all = append(all, a)
		}
	}
	if slices.Equal(n.peers, all) {
		return n.write(nil)
	}
	return n.addLocked(notedPeers, all)
}

// Relays returns the relays of the node.
func (n *Note) Relays() []Relay {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.relays)
}

// Peers returns where peers of the databases were.
func (n *Note) Peers() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.peers)
}

// Get returns what is noted of a database.
func (n *Note) Get(id net.ThreadID) (Noted, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	d := n.databases[id]
	if d == nil {
		return Noted{}, false
	}
	return *d, true
}

// All returns what is noted of every database, by number.
func (n *Note) All() []Noted {
	n.mu.Lock()
	defer n.mu.Unlock()
	var out []Noted
	for _, d := range n.sorted() {
		out = append(out, *d)
	}
	return out
}
