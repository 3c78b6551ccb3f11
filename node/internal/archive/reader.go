package archive

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"hash"
	"io"
	"io/fs"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/weftdb/weft/internal/fault"
)

// Bounds of what a backup is read into memory for.
const (
	maxBackupName = 512
	maxBackupFile = 16 << 20
	maxBackupPart = 64 << 20
)

// A Sink takes what a backup holds, as it is read: nothing of it is known to be right
// before all has been.
type Sink interface {
	// File takes a file of a home. Its name comes from outside.
	File(name string, data []byte) error
	// Put takes a pair of the store.
	Put(k, v []byte) error
}

// A Reader reads a backup. The caller owes Close.
type Reader struct {
	Engine string // of the store

	r            *bufio.Reader
	sum          hash.Hash
	files, pairs hash.Hash
	seen         Manifest
	sink         Sink
	end          func()
}

// Open reads the header of a backup.
func Open(r io.Reader) (*Reader, error) {
	in := bufio.NewReaderSize(r, 64<<10)
	line, err := in.ReadSlice('\n')
	name, ok := bytes.CutPrefix(line, []byte(magic))
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, bufio.ErrBufferFull) { // of the disk, or of a seal
		return nil, cutShort(corrupt(err))
	}
	if err != nil || !ok {
		if rest, other := bytes.CutPrefix(line, []byte(word)); err == nil && other {
			v, _, _ := bytes.Cut(bytes.TrimSpace(rest), []byte(" ")) // the engine follows
			return nil, fault.Of(ErrBackup, "the backup has version %.10q, this release reads version %q: restore it with the release that wrote it, and export its databases", v, version)
		}
		return nil, fault.Of(ErrBackup, "the file does not begin like a backup")
	}
	z, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxBackupPart))
	if err != nil {
		return nil, fault.Of(ErrBackup, "the backup cannot be decompressed")
	}
	return &Reader{
		Engine: strings.TrimSpace(string(name)), r: bufio.NewReaderSize(z, 64<<10), sum: sha256.New(), files: sha256.New(), pairs: sha256.New(), end: z.Close,
	}, nil
}

// Close ends the reading.
func (u *Reader) Close() { u.end() }

// Read reads all of the backup into a sink and compares every hash in it.
func (u *Reader) Read(ctx context.Context, sink Sink) (m Manifest, err error) {
	u.sink = sink
	if m, err = u.entries(ctx); err != nil {
		return m, cutShort(err)
	}
	u.seen.Files.Hash, u.seen.Store.Hash = hex.EncodeToString(u.files.Sum(nil)), hex.EncodeToString(u.pairs.Sum(nil))
	if u.seen.Files != m.Files || u.seen.Store != m.Store {
		return m, fault.Of(ErrBackup, "the backup does not hold what its manifest says")
	}
	return m, nil
}

// cutShort names an end that comes too early, and bytes that are not what they
// were.
func cutShort(err error) error {
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return fault.Of(ErrBackup, "the backup is cut short")
	case errors.Is(err, zstd.ErrCRCMismatch), errors.Is(err, zstd.ErrMagicMismatch), errors.Is(err, zstd.ErrReservedBlockType),
		errors.Is(err, zstd.ErrBlockTooSmall), errors.Is(err, zstd.ErrUnexpectedBlockSize), errors.Is(err, zstd.ErrWindowSizeExceeded),
		errors.Is(err, zstd.ErrDecoderSizeExceeded), errors.Is(err, zstd.ErrCompressedSizeTooBig), errors.Is(err, zstd.ErrUnknownDictionary):
		return fault.Of(ErrBackup, "the backup was altered")
	}
	return err
}

// ReadByte and Read read what the digest covers.
func (u *Reader) ReadByte() (byte, error) {
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
	if _, ok := errors.AsType[*fs.PathError](err); ok { // the disk's, not the backup's
		return err
	}
	return fault.Of(ErrBackup, "the backup was altered")
}

// bytes reads a length and as many bytes, at most most. What it is read into grows with
// what has come: a length that lies costs no memory.
func (u *Reader) bytes(most uint64, what string) ([]byte, error) {
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
func (u *Reader) entries(ctx context.Context) (m Manifest, err error) {
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
// follow.
func (u *Reader) digest() error {
	want := u.sum.Sum(nil)
	got := make([]byte, sha256.Size)
	if _, err := io.ReadFull(u.r, got); err != nil {
		return corrupt(err)
	}
	if !bytes.Equal(got, want) {
		return fault.Of(ErrBackup, "the backup was altered")
	}
	if _, err := u.r.ReadByte(); !errors.Is(err, io.EOF) {
		return fault.Of(ErrBackup, "the backup has data after its end")
	}
	return nil
}

// file reads one file of a home.
func (u *Reader) file() error {
	raw, err := u.bytes(maxBackupName, "a name")
	if err != nil {
		return err
	}
	data, err := u.bytes(maxBackupFile, "a file")
	if err != nil {
		return err
	}
	sum := sha256.Sum256(data)
	name := string(raw)
	u.files.Write(append(append(raw, 0), sum[:]...))
	u.seen.Files.add(1, int64(len(data)))
	return u.sink.File(name, data)
}

// storePairs reads one entry of pairs, whose lengths must come out exactly at its end.
func (u *Reader) storePairs() error {
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
		if err := u.sink.Put(k, v); err != nil {
			return err
		}
	}
	if len(p) > 0 {
		return fault.Of(ErrBackup, "the backup has more pairs of keys and values than it says")
	}
	return nil
}
