package node

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
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/weftdb/weft/db/replica"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/internal/store/engines"
)

// A backup is a header line, and zstd of entries: files of the home, pairs of a
// snapshot of its store, the manifest, and a digest of all of it. See
// docs/design/transfer.md.
const (
	backupMagic = "weft backup 3 " // ‖ engine ‖ "\n"

	entryFile     = 'f'
	entryPairs    = 's'
	entryManifest = 'm'
	entryEnd      = 'e'

	pairsBytes = 1 << 20 // about as many of one entry
)

// A Manifest says what a backup holds. Hashes are SHA-256, in hexadecimal.
type Manifest struct {
	Version   int              `json:"version"`
	Created   time.Time        `json:"created"`
	Release   string           `json:"release"`
	Identity  string           `json:"identity"`
	Peer      string           `json:"peer"`
	Sealed    bool             `json:"sealed"` // a passphrase seals the key files
	Files     Section          `json:"files"`
	Store     Section          `json:"store"`
	Databases []BackupDatabase `json:"databases"`
}

// A Section says what a part of a backup holds.
type Section struct {
	Count int64  `json:"count"` // of files or keys
	Bytes int64  `json:"bytes"`
	Hash  string `json:"hash"`
}

// A BackupDatabase is a database in a backup.
type BackupDatabase struct {
	Name string `json:"name"`
	ID   string `json:"id"`
	Hash string `json:"hash,omitempty"` // the state hash; "" if a fold was under way
}

// A backupWriter writes entries.
type backupWriter struct {
	w          *bufio.Writer
	z          *zstd.Encoder
	sum        hash.Hash // of all
	files      hash.Hash // of names and hashes of files
	pairs      hash.Hash // of entries with pairs
	m          Manifest
	batch      []byte
	batchCount uint64
}

// write writes what the digest covers; the digest itself goes past it.
func (b *backupWriter) write(p []byte) error {
	b.sum.Write(p)
	_, err := b.z.Write(p)
	return err
}

// Backup writes a backup of the home to w, of one moment, while the node goes on.
// It holds what the home holds, keys and documents included.
func (n *Node) Backup(ctx context.Context, w io.Writer) (Manifest, error) {
	engine, err := engines.Engine(n.home.path(dirStore))
	if err != nil {
		return Manifest{}, fmt.Errorf("backup: %w", err)
	}
	if err := n.fitForBackup(ctx); err != nil {
		return Manifest{}, err
	}
	b := &backupWriter{w: bufio.NewWriterSize(w, 64<<10), sum: sha256.New(), files: sha256.New(), pairs: sha256.New()}
	if _, err := fmt.Fprintf(b.w, "%s%s\n", backupMagic, engine); err != nil {
		return Manifest{}, err
	}
	if b.z, err = zstd.NewWriter(b.w, zstd.WithEncoderConcurrency(1)); err != nil {
		return Manifest{}, fmt.Errorf("backup: %w", err)
	}
	defer n.holdBlobs()() // what the snapshot names is not deleted before it is copied
	for _, t := range n.host.Threads() {
		if err := t.MissingBlobs(); err != nil {
			return Manifest{}, fault.Of(ErrDamaged, "no backup is made: %w: run weft doctor", err)
		}
	}
	// The snapshot is first: blobs are on disk before it can name them. What is in
	// it may be sent, so it has to be as durable here as there.
	snap := n.store.Snapshot()
	defer snap.Release()
	err = n.store.Sync()
	if err == nil {
		err = n.backupFiles(ctx, b)
	}
	if err == nil {
		err = b.store(ctx, snap)
	}
	if err == nil {
		err = n.backupEnd(b, snap)
	}
	err = errors.Join(err, b.z.Close())
	if err == nil {
		err = b.w.Flush()
	}
	return b.m, err
}

// fitForBackup returns an error of kind corrupt if something is damaged: a backup is
// of all that was in the home, or is none. Every database is read and compared with
// its state hash.
func (n *Node) fitForBackup(ctx context.Context) error {
	for _, d := range n.all() {
		fold, err := d.open(ctx)
		if err == nil && !d.rebuilding.Load() {
			_, err = fold.Verify(ctx)
		}
		if d.met(err) != nil {
			return fmt.Errorf("no backup is made: database %s: %w", d.name, err)
		}
	}
	if all := n.Damages(); len(all) > 0 && all[0].Database != "" {
		return fault.Of(ErrDamaged, "no backup is made: database %s is damaged: %s", all[0].Database, all[0].Reason)
	} else if len(all) > 0 {
		return fault.Of(ErrDamaged, "no backup is made: %s", all[0].Reason)
	}
	for _, d := range n.Databases() {
		if d.Damage != "" {
			return fault.Of(ErrDamaged, "no backup is made: database %s: %s", d.Name, d.Damage)
		}
	}
	return nil
}

// holdBlobs keeps the blobs of all databases until release.
func (n *Node) holdBlobs() (release func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	var held []func()
	for _, d := range n.databases {
		held = append(held, d.thread.HoldBlobs())
	}
	return func() {
		for _, release := range held {
			release()
		}
	}
}

// backupFiles writes the files of the home that are not of this process.
func (n *Node) backupFiles(ctx context.Context, b *backupWriter) error {
	return fs.WalkDir(os.DirFS(n.home.dir), ".", func(name string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // a database was removed meanwhile
		}
		if err = errors.Join(err, ctx.Err()); err != nil {
			return err
		}
		if name == "." {
			return nil
		}
		if !inBackup(name) {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if d.IsDir() {
			return nil
		}
		data, err := os.ReadFile(n.home.path(filepath.FromSlash(name)))
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("backup: %w", err)
		}
		if sum := sha256.Sum256(data); strings.HasPrefix(name, dirBlobs+"/") && path.Base(name) != hex.EncodeToString(sum[:]) {
			return fault.Of(ErrDamaged, "no backup is made: %s does not hold the bytes that its name says: run weft doctor", n.home.path(filepath.FromSlash(name)))
		}
		return b.file(name, data)
	})
}

// inBackup reports whether a file or folder of the home is in backups: who the
// node is, and blobs. The API's token and what runs are not.
func inBackup(name string) bool {
	switch top, rest, _ := strings.Cut(name, "/"); top {
	case fileVersion, fileIdentity, fileDevice, fileCertificate:
		return rest == ""
	case dirRelays:
		return !strings.Contains(rest, "/") && !strings.HasPrefix(rest, ".")
	case dirBlobs:
		base := name[strings.LastIndexByte(name, '/')+1:]
		_, err := hex.DecodeString(base)
		return rest == "" || err == nil // no file on its way
	}
	return false
}

// file writes one file as an entry. The section's hash covers its name and the hash of its
// bytes, so that a file under another name is another file.
func (b *backupWriter) file(name string, data []byte) error {
	sum := sha256.Sum256(data)
	head := binary.AppendUvarint([]byte{entryFile}, uint64(len(name)))
	head = binary.AppendUvarint(append(head, name...), uint64(len(data)))
	b.m.Files.add(1, int64(len(data)))
	b.files.Write(append(append([]byte(name), 0), sum[:]...))
	return errors.Join(b.write(head), b.write(data))
}

func (s *Section) add(count, bytes int64) { s.Count, s.Bytes = s.Count+count, s.Bytes+bytes }

// store writes every pair of the store.
func (b *backupWriter) store(ctx context.Context, snap store.Snapshot) error {
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
func (b *backupWriter) flushPairs() error {
	head := binary.AppendUvarint([]byte{entryPairs}, b.batchCount)
	head = binary.AppendUvarint(head, uint64(len(b.batch)))
	b.pairs.Write(b.batch)
	err := errors.Join(b.write(head), b.write(b.batch))
	b.batch, b.batchCount = b.batch[:0], 0
	return err
}

// backupEnd writes the manifest and the digest.
func (n *Node) backupEnd(b *backupWriter, snap store.Snapshot) error {
	m := &b.m
	m.Version, m.Created, m.Release = 1, time.Now().UTC().Truncate(time.Second), Version()
	m.Identity, m.Peer, m.Sealed = n.Identity().DID(), n.Peer().String(), n.Sealed()
	m.Files.Hash, m.Store.Hash = hex.EncodeToString(b.files.Sum(nil)), hex.EncodeToString(b.pairs.Sum(nil))
	m.Databases = []BackupDatabase{}
	err := eachJSONIn(snap, prefixDatabase, func(name string, r databaseRow) error {
		f, ok, err := replica.PeekState(snap, foldPrefix(r.Number))
		d := BackupDatabase{Name: name, ID: r.ID}
		if ok {
			d.Hash = f.Hash.String()
		}
		m.Databases = append(m.Databases, d)
		return err
	})
	if err != nil {
		return err
	}
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
