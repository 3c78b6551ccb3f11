package node

import (
	"bufio"
	"bytes"
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
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/weftdb/weft/db/replica"
	"github.com/weftdb/weft/internal/durable"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/internal/store/engines"
	"github.com/weftdb/weft/net"
)

// Bounds of what a backup is read into memory for.
const (
	maxBackupName = 512
	maxBackupFile = 16 << 20
	maxBackupPart = 64 << 20
)

// RestoreOptions say how a home is restored.
type RestoreOptions struct {
	Home       string // where; a folder that is empty, or not there yet
	Passphrase []byte // of the home that was backed up, if its keys are sealed
	Log        *slog.Logger
}

// Restore makes a home of a backup. Before it is there, every hash of the manifest is
// compared, and each database is read whole and compared with its state hash. The restored
// node goes on in new logs, as what was backed up may have written more: nothing is ever
// written twice under one name. Two homes of one backup have one device and must not run at
// the same time. All of it happens in a folder beside the home, on the same disk, which is
// removed after an error and renamed at the end: a home that is half restored is never
// there under its name.
func Restore(ctx context.Context, r io.Reader, o RestoreOptions) (m Manifest, err error) {
	if o.Home == "" {
		return m, fault.Of(ErrInvalid, "restore into which home? RestoreOptions.Home is empty")
	}
	dir, err := filepath.Abs(o.Home)
	if err != nil {
		return m, fmt.Errorf("restore: %w", err)
	}
	if err := checkEmpty(dir); err != nil {
		return m, err
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return m, fmt.Errorf("restore: %w", err)
	}
	temp, err := os.MkdirTemp(filepath.Dir(dir), filepath.Base(dir)+".restore-")
	if err != nil {
		return m, fmt.Errorf("restore: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(temp)) }()
	if m, err = unpack(ctx, r, temp); err != nil {
		return m, err
	}
	o.Home = temp
	if err := verifyHome(ctx, m, o); err != nil {
		return m, err
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return m, fmt.Errorf("restore: %w", err)
	}
	if err := os.Rename(temp, dir); err != nil {
		return m, fmt.Errorf("restore: %w", err)
	}
	return m, durable.Folder(filepath.Dir(dir))
}

// checkEmpty refuses to restore over files: a home that is there has a device and data that
// nothing else has.
func checkEmpty(dir string) error {
	entries, err := os.ReadDir(dir)
	if err == nil && len(entries) > 0 {
		return fault.Of(ErrExists, "%s is not empty: restore into a new folder", dir)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("restore: %w", err)
	}
	return nil
}

// verifyHome opens the home by itself and compares every database.
func verifyHome(ctx context.Context, m Manifest, o RestoreOptions) (err error) {
	n, err := Open(ctx, Config{Home: o.Home, Passphrase: o.Passphrase, Log: o.Log, offline: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.Close()) }()
	if n.Identity().DID() != m.Identity || n.Peer().String() != m.Peer {
		return fault.Of(ErrBackup, "the backup's keys belong to another node than its manifest says")
	}
	if got := len(n.all()); got != len(m.Databases) {
		return fault.Of(ErrBackup, "the backup has %d databases, its manifest lists %d", got, len(m.Databases))
	}
	for _, want := range m.Databases {
		d, err := n.Database(ctx, want.Name)
		if err != nil {
			return err
		}
		if err := d.Settle(ctx); err != nil {
			return err
		}
		if _, err := d.Verify(ctx); err != nil {
			return fmt.Errorf("database %s: %w", want.Name, err)
		}
	}
	return nil
}

// An unpacker reads entries into a home.
type unpacker struct {
	r            *bufio.Reader
	sum          hash.Hash
	files, pairs hash.Hash
	seen         Manifest
	root         *os.Root    // nil: nothing is kept
	st           store.Store // nil with root
	tx           store.Tx
	end          func()
}

// unpack makes the files and the store of a home, compares what it has read with
// the manifest, and has the threads begin new logs.
func unpack(ctx context.Context, r io.Reader, dir string) (m Manifest, err error) {
	u, engine, err := openBackup(r)
	if err != nil {
		return m, err
	}
	defer u.end()
	if u.root, err = os.OpenRoot(dir); err != nil {
		return m, fmt.Errorf("restore: %w", err)
	}
	defer func() { err = errors.Join(err, u.root.Close()) }()
	if u.st, err = engines.Open(filepath.Join(dir, dirStore), &engines.Options{Engine: engine}); err != nil {
		return m, err
	}
	defer func() {
		if u.tx != nil {
			u.tx.Discard()
		}
		err = errors.Join(err, u.st.Close())
	}()
	if m, err = u.entries(ctx); err != nil {
		return m, cutBackup(err)
	}
	if err := u.compare(m); err != nil {
		return m, err
	}
	return m, net.Restored(u.st)
}

// openBackup reads the header of a backup.
func openBackup(r io.Reader) (u *unpacker, engine string, err error) {
	in := bufio.NewReaderSize(r, 64<<10)
	line, err := in.ReadSlice('\n')
	name, ok := bytes.CutPrefix(line, []byte(backupMagic))
	if err != nil || !ok {
		if rest, other := bytes.CutPrefix(line, []byte(strings.TrimSuffix(backupMagic, "2 "))); err == nil && other {
			return nil, "", fault.Of(ErrBackup, "the backup has version %.10q, this release reads version 3", bytes.TrimSpace(rest))
		}
		return nil, "", fault.Of(ErrBackup, "the file does not begin like a backup")
	}
	engine = strings.TrimSpace(string(name))
	z, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxBackupPart))
	if err != nil {
		return nil, "", fault.Of(ErrBackup, "the backup cannot be decompressed: %v", err)
	}
	return &unpacker{r: bufio.NewReaderSize(z, 64<<10), sum: sha256.New(), files: sha256.New(), pairs: sha256.New(), end: z.Close}, engine, nil
}

// VerifyBackup reads a backup and compares every hash in it, as Restore does, without
// keeping anything of it.
func VerifyBackup(ctx context.Context, r io.Reader) (m Manifest, err error) {
	u, _, err := openBackup(r)
	if err != nil {
		return m, err
	}
	defer u.end()
	if m, err = u.entries(ctx); err != nil {
		return m, cutBackup(err)
	}
	return m, u.compareSections(m)
}

// cutBackup names an end that comes too early, and bytes that are not what they
// were.
func cutBackup(err error) error {
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return fault.Of(ErrBackup, "the backup is cut short")
	case errors.Is(err, zstd.ErrCRCMismatch), errors.Is(err, zstd.ErrMagicMismatch), errors.Is(err, zstd.ErrReservedBlockType),
		errors.Is(err, zstd.ErrBlockTooSmall), errors.Is(err, zstd.ErrUnexpectedBlockSize), errors.Is(err, zstd.ErrWindowSizeExceeded),
		errors.Is(err, zstd.ErrDecoderSizeExceeded), errors.Is(err, zstd.ErrCompressedSizeTooBig), errors.Is(err, zstd.ErrUnknownDictionary):
		return fault.Of(ErrBackup, "the backup was altered: %v", err)
	}
	return err
}

// ReadByte and Read read what the digest covers.
func (u *unpacker) ReadByte() (byte, error) {
	c, err := u.r.ReadByte()
	if err == nil {
		u.sum.Write([]byte{c})
	}
	return c, corrupt(err)
}

// corrupt passes on the end of a backup, and takes other errors of reading it
// for damage.
func corrupt(err error) error {
	if err == nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return err
	}
	return fault.Of(ErrBackup, "the backup was altered: %v", err)
}

// bytes reads a length and as many bytes, at most most. What it is read into grows with
// what has come: a length that lies costs no memory.
func (u *unpacker) bytes(most uint64, what string) ([]byte, error) {
	n, err := binary.ReadUvarint(u)
	if err != nil {
		return nil, err
	}
	if n > most {
		return nil, fault.Of(ErrBackup, "the backup has a %s of %d bytes, over the limit of %d", what, n, most)
	}
	p := make([]byte, 0, min(n, 1<<20))
	for uint64(len(p)) < n { // grows with what is there
		k := len(p)
		p = append(p, make([]byte, min(n-uint64(k), 1<<20))...)
		if _, err := io.ReadFull(u.r, p[k:]); err != nil {
			return nil, corrupt(err)
		}
	}
	u.sum.Write(p)
	return p, nil
}

// entries reads every entry, up to the digest and the end of the file.
func (u *unpacker) entries(ctx context.Context) (m Manifest, err error) {
	for ended := false; ; {
		if err := ctx.Err(); err != nil {
			return m, err
		}
		kind, err := u.ReadByte()
		if err != nil {
			return m, err
		}
		switch {
		case kind == entryFile && !ended:
			err = u.file()
		case kind == entryPairs && !ended:
			err = u.storePairs()
		case kind == entryManifest && !ended:
			ended = true
			var text []byte
			if text, err = u.bytes(maxBackupPart, "manifest"); err == nil {
				if jerr := json.Unmarshal(text, &m); jerr != nil || m.Version != 1 {
					err = fault.Of(ErrBackup, "the backup's manifest cannot be read: version %d: %v", m.Version, jerr)
				}
			}
		case kind == entryEnd && ended:
			return m, u.digest()
		default:
			err = fault.Of(ErrBackup, "the backup has an entry of unknown kind %d", kind)
		}
		if err != nil {
			return m, err
		}
	}
}

// digest compares all that was read with what the backup ends with, after which nothing may
// follow, and makes the store durable.
func (u *unpacker) digest() error {
	want := u.sum.Sum(nil)
	got := make([]byte, sha256.Size)
	if _, err := io.ReadFull(u.r, got); err != nil {
		return corrupt(err)
	}
	if !bytes.Equal(got, want) {
		return fault.Of(ErrBackup, "the backup's digest does not match its content")
	}
	if _, err := u.r.ReadByte(); !errors.Is(err, io.EOF) {
		return fault.Of(ErrBackup, "the backup has data after its end")
	}
	if u.root == nil {
		return nil
	}
	if u.tx != nil {
		if err := u.tx.Commit(); err != nil {
			return err
		}
		u.tx = nil
	}
	return u.st.Sync()
}

// file reads one file of a home. Its name comes from outside: it must be one that a backup
// has, clean and local, and is opened below the root, which nothing leaves, links included.
func (u *unpacker) file() error {
	raw, err := u.bytes(maxBackupName, "a name")
	if err != nil {
		return err
	}
	name := string(raw)
	if !inBackup(name) || path.Clean(name) != name || !filepath.IsLocal(filepath.FromSlash(name)) {
		return fault.Of(ErrBackup, "the backup has a file %.80q, which no home has", name)
	}
	data, err := u.bytes(maxBackupFile, "a file")
	if err != nil {
		return err
	}
	sum := sha256.Sum256(data)
	u.files.Write(append(append(raw, 0), sum[:]...))
	u.seen.Files.add(1, int64(len(data)))
	if u.root == nil {
		return nil
	}
	local := filepath.FromSlash(name)
	if err := u.root.MkdirAll(filepath.Dir(local), 0o700); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	f, err := u.root.OpenFile(local, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	return nil
}

// storePairs reads one entry of pairs, whose lengths must come out exactly at its end.
func (u *unpacker) storePairs() error {
	count, err := binary.ReadUvarint(u)
	if err != nil {
		return err
	}
	p, err := u.bytes(maxBackupPart, "pairs")
	if err != nil {
		return err
	}
	u.pairs.Write(p)
	u.seen.Store.add(int64(count), 0)
	part := func() []byte {
		n, k := binary.Uvarint(p)
		if k <= 0 || n > uint64(len(p)-k) {
			p = nil
			return nil
		}
		out := p[k : k+int(n) : k+int(n)]
		p = p[k+int(n):]
		return out
	}
	for ; count > 0; count-- {
		k, v := part(), part()
		if len(k) == 0 || v == nil {
			return fault.Of(ErrBackup, "the backup has malformed pairs of keys and values")
		}
		u.seen.Store.Bytes += int64(len(k) + len(v))
		if err := u.put(k, v); err != nil {
			return err
		}
	}
	if len(p) > 0 {
		return fault.Of(ErrBackup, "the backup has more pairs of keys and values than it says")
	}
	return nil
}

// put adds a pair, and commits a transaction that is full: until all is compared nobody
// uses the store, so that it need not be one. Without a root there is no store, and the
// pair was only counted.
func (u *unpacker) put(k, v []byte) error {
	if u.root == nil {
		return nil
	}
	if u.tx == nil {
		u.tx = u.st.Begin()
	}
	err := u.tx.Put(k, v)
	if errors.Is(err, store.ErrTooBig) {
		if err := u.tx.Commit(); err != nil {
			return err
		}
		u.tx = u.st.Begin()
		err = u.tx.Put(k, v)
	}
	return err
}

// compareSections compares the hashes of what was read with what the manifest says.
func (u *unpacker) compareSections(m Manifest) error {
	u.seen.Files.Hash, u.seen.Store.Hash = hex.EncodeToString(u.files.Sum(nil)), hex.EncodeToString(u.pairs.Sum(nil))
	if u.seen.Files != m.Files || u.seen.Store != m.Store {
		return fault.Of(ErrBackup, "the backup does not hold what its manifest says")
	}
	return nil
}

// compare compares what was read with what the manifest says.
func (u *unpacker) compare(m Manifest) error {
	if err := u.compareSections(m); err != nil {
		return err
	}
	want := map[string]BackupDatabase{}
	for _, d := range m.Databases {
		want[d.Name] = d
	}
	snap := u.st.Snapshot()
	defer snap.Release()
	return eachJSONIn(snap, prefixDatabase, func(name string, r databaseRow) error {
		f, ok, err := replica.PeekState(snap, foldPrefix(r.Number))
		if w := want[name]; err == nil && (w.ID != r.ID || ok && w.Hash != f.Hash.String()) {
			err = fault.Of(ErrBackup, "database %s of the backup is in another state than the manifest says", name)
		}
		return err
	})
}
