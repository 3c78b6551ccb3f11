// Package archive is the form of a backup: what is written of a home to one file, and how
// that is read and compared.
//
//	header line, and zstd of entries: files of the home, pairs of its store, the manifest, a
//	digest of all of it
//
// The format to the byte: docs/design/transfer.md.
package archive

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/node/internal/check"
)

// ErrBackup reports a backup that is cut short, was altered, or is none.
var ErrBackup = fault.New(fault.BadBackup, "the backup is incomplete or damaged")

const (
	version = "5"
	word    = "weft backup "
	magic   = word + version + " " // ‖ engine ‖ "\n"

	entryFile     = 'f'
	entryPairs    = 's'
	entryManifest = 'm'
	entryEnd      = 'e'

	pairsBytes = 1 << 20 // about as many of one entry
)

// A Manifest says what a backup holds. Hashes are SHA-256, in hexadecimal.
type Manifest struct {
	Version   int        `json:"version"`
	Created   time.Time  `json:"created"`
	Release   string     `json:"release"`
	Identity  string     `json:"identity"`
	Peer      string     `json:"peer"`
	Sealed    bool       `json:"sealed"` // a passphrase seals the key files
	Files     Section    `json:"files"`
	Store     Section    `json:"store"`
	Databases []Database `json:"databases"`
	Threads   []Thread   `json:"threads,omitempty"` // kept for others, that lack blobs
}

// A Section says what a part of a backup holds.
type Section struct {
	Count int64  `json:"count"` // of files or keys
	Bytes int64  `json:"bytes"`
	Hash  string `json:"hash"`
}

// A Database is a database in a backup.
type Database struct {
	Name string `json:"name"`
	ID   string `json:"id"`
	Hash string `json:"hash,omitempty"` // the state hash; "" if a fold was under way
	// Lacks are the blocks of files that were damaged in the home and had not come back.
	Lacks []check.Lack `json:"lacks,omitempty"`
}

// A Thread is one that the home keeps for others and that lacks blobs.
type Thread struct {
	ID    string       `json:"id"`
	Lacks []check.Lack `json:"lacks"`
}

// A Writer writes a backup. It belongs to one goroutine; the caller owes Close.
type Writer struct {
	w          *bufio.Writer
	z          *zstd.Encoder
	sum        hash.Hash // of all
	files      hash.Hash // of names and hashes of files
	pairs      hash.Hash // of entries with pairs
	m          Manifest
	batch      []byte
	batchCount uint64
}

// NewWriter writes the header of a backup of a store with an engine.
func NewWriter(w io.Writer, engine string) (*Writer, error) {
	b := &Writer{w: bufio.NewWriterSize(w, 64<<10), sum: sha256.New(), files: sha256.New(), pairs: sha256.New()}
	if _, err := fmt.Fprintf(b.w, "%s%s\n", magic, engine); err != nil {
		return nil, err
	}
	var err error
	if b.z, err = zstd.NewWriter(b.w, zstd.WithEncoderConcurrency(1)); err != nil {
		return nil, fmt.Errorf("backup: %w", err)
	}
	return b, nil
}

// write writes what the digest covers; the digest itself goes past it.
func (b *Writer) write(p []byte) error {
	b.sum.Write(p)
	_, err := b.z.Write(p)
	return err
}

// File writes one file as an entry. The section's hash covers its name and the hash of its
// bytes, so that a file under another name is another file.
func (b *Writer) File(name string, data []byte) error {
	sum := sha256.Sum256(data)
	head := binary.AppendUvarint([]byte{entryFile}, uint64(len(name)))
	head = binary.AppendUvarint(append(head, name...), uint64(len(data)))
	b.m.Files.add(1, int64(len(data)))
	b.files.Write(append(append([]byte(name), 0), sum[:]...))
	return errors.Join(b.write(head), b.write(data))
}

func (s *Section) add(count, bytes int64) { s.Count, s.Bytes = s.Count+count, s.Bytes+bytes }

// Store writes every pair of the store.
func (b *Writer) Store(ctx context.Context, snap store.Snapshot) error {
	it := snap.Iterate(store.Range{})
	defer it.Close()
	for ; it.Valid(); it.Next() {
		v, err := it.Value()
		if err != nil {
			return fmt.Errorf("backup: %w", err)
		}
		k := it.Key()
		b.batch = binary.AppendUvarint(b.batch, uint64(len(k)))
		b.batch = binary.AppendUvarint(append(b.batch, k...), uint64(len(v)))
		b.batch = append(b.batch, v...)
		b.m.Store.add(1, int64(len(k)+len(v)))
		if b.batchCount++; len(b.batch) >= pairsBytes {
			if err := errors.Join(b.flushPairs(), ctx.Err()); err != nil {
				return err
			}
		}
	}
	if err := it.Err(); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	return b.flushPairs()
}

// flushPairs writes the pairs that are gathered as one entry. It is called also at the end,
// with few or none.
func (b *Writer) flushPairs() error {
	head := binary.AppendUvarint([]byte{entryPairs}, b.batchCount)
	head = binary.AppendUvarint(head, uint64(len(b.batch)))
	b.pairs.Write(b.batch)
	err := errors.Join(b.write(head), b.write(b.batch))
	b.batch, b.batchCount = b.batch[:0], 0
	return err
}

// End writes the manifest, in which it sets what was written, and the digest.
func (b *Writer) End(m *Manifest) error {
	m.Files, m.Store = b.m.Files, b.m.Store
	m.Files.Hash, m.Store.Hash = hex.EncodeToString(b.files.Sum(nil)), hex.EncodeToString(b.pairs.Sum(nil))
	text, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	if err := b.write(append(binary.AppendUvarint([]byte{entryManifest}, uint64(len(text))), text...)); err != nil {
		return err
	}
	if err := b.write([]byte{entryEnd}); err != nil {
		return err
	}
	_, err = b.z.Write(b.sum.Sum(nil))
	return err
}

// Close writes what is held back.
func (b *Writer) Close() error {
	return errors.Join(b.z.Close(), b.w.Flush())
}
