package node

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/weftdb/weft/node/internal/rows"

	"github.com/weftdb/weft/db/replica"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/net"
	"github.com/weftdb/weft/node/internal/archive"
	"github.com/weftdb/weft/node/internal/homedir"
)

// What a backup says of itself.
type (
	// A Manifest says what a backup holds.
	Manifest = archive.Manifest
	// A Section says what a part of a backup holds.
	Section = archive.Section
	// A BackupDatabase is a database in a backup.
	BackupDatabase = archive.Database
	// A BackupThread is a thread in a backup that is kept for others and lacks blobs.
	BackupThread = archive.Thread
)

// Backup writes a backup of the home to w, of one moment, while the node goes on.
// It holds what the home holds, keys and documents included.
func (n *Node) Backup(ctx context.Context, w io.Writer) (Manifest, error) {
	engine, err := n.engine()
	if err != nil {
		return Manifest{}, fmt.Errorf("backup: %w", err)
	}
	if err := n.fitForBackup(ctx); err != nil {
		return Manifest{}, err
	}
	defer n.holdBlobs()() // what the snapshot names is not deleted before it is copied
	for _, t := range n.host.Threads() {
		if err := t.MissingBlobs(); err != nil {
			return Manifest{}, fault.Of(ErrDamaged, "no backup is made: %w: run weft doctor --repair", err)
		}
	}
	lacks, err := n.allLacks(ctx)
	if err != nil {
		return Manifest{}, fmt.Errorf("backup: %w", err)
	}
	b, err := archive.NewWriter(w, engine)
	if err != nil {
		return Manifest{}, err
	}
	// The snapshot is first: blobs are on disk before it can name them. What is in
	// it may be sent, so it has to be as durable here as there.
	snap := n.store.Snapshot()
	defer snap.Release()
	var m Manifest
	err = n.store.Sync()
	if err == nil {
		err = n.backupFiles(ctx, b, lacks)
	}
	if err == nil {
		err = b.Store(ctx, snap)
	}
	if err == nil {
		err = n.describe(&m, snap, lacks)
	}
	if err == nil {
		err = b.End(&m)
	}
	return m, errors.Join(err, b.Close())
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
	for _, d := range n.all() {
		if d.rebuilding.Load() {
			return fault.Of(ErrDamaged, "no backup is made: database %s is being rebuilt", d.name)
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
func (n *Node) backupFiles(ctx context.Context, b *archive.Writer, lacks map[string][]Lack) error {
	return fs.WalkDir(os.DirFS(n.home.Dir()), ".", func(name string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // a database was removed meanwhile
		}
		if err = errors.Join(err, ctx.Err()); err != nil {
			return err
		}
		if name == "." {
			return nil
		}
		if !homedir.InBackup(name) {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if d.IsDir() {
			return nil
		}
		data, err := os.ReadFile(n.home.Path(filepath.FromSlash(name)))
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("backup: %w", err)
		}
		if sum := sha256.Sum256(data); strings.HasPrefix(name, homedir.DirBlobs+"/") && path.Base(name) != hex.EncodeToString(sum[:]) {
			held, err := n.holds(name, lacks)
			if err != nil || !held {
				return err // what is left of a blob that is lacking, or was deleted
			}
			return fault.Of(ErrDamaged, "no backup is made: %s does not hold the bytes that its name says: run weft doctor --repair", n.home.Path(filepath.FromSlash(name)))
		}
		return b.File(name, data)
	})
}

// holds reports whether the blob of which a file is may be held in the snapshot: it is held
// now, or is lacking since then.
func (n *Node) holds(name string, before map[string][]Lack) (bool, error) {
	b, err := hex.DecodeString(path.Base(name))
	if err != nil || len(b) != len(net.BlobID{}) {
		return false, nil //nolint:nilerr // it is no blob's
	}
	blob, folder := net.BlobID(b), path.Base(path.Dir(path.Dir(name)))
	for _, t := range n.host.Threads() {
		id := t.ID()
		if folder != hex.EncodeToString(id[:8]) {
			continue
		}
		if t.HasBlob(blob) {
			return true, nil
		}
		now, err := lackedBlobs(t)
		is := func(l Lack) bool { return l.ID == blob.String() }
		if err != nil || slices.ContainsFunc(now, is) && !slices.ContainsFunc(before[id.String()], is) {
			return true, err
		}
	}
	return false, nil
}

// allLacks lists what databases, and threads that are kept for others, lack, by their IDs.
func (n *Node) allLacks(ctx context.Context) (map[string][]Lack, error) {
	all := map[string][]Lack{}
	for _, d := range n.all() {
		lacks, err := n.lacksOf(ctx, d)
		if err != nil {
			return nil, err
		}
		all[d.thread.ID().String()] = lacks
	}
	for _, t := range n.kept() {
		lacks, err := lackedBlobs(t)
		if err != nil {
			return nil, err
		}
		all[t.ID().String()] = lacks
	}
	return all, nil
}

// describe fills in what a manifest says of the node and its databases.
func (n *Node) describe(m *Manifest, snap store.Snapshot, lacks map[string][]Lack) error {
	m.Version, m.Created, m.Release = 1, time.Now().UTC().Truncate(time.Second), Version()
	m.Identity, m.Peer, m.Sealed = n.Identity().DID(), n.Peer().String(), n.Sealed()
	m.Databases = []BackupDatabase{}
	for _, t := range n.kept() {
		if l := lacks[t.ID().String()]; len(l) > 0 {
			m.Threads = append(m.Threads, BackupThread{ID: t.ID().String(), Lacks: l[:min(len(l), maxLacks)]})
		}
	}
	return rows.EachIn(snap, prefixDatabase, func(name string, r databaseRow) error {
		f, ok, err := replica.PeekState(snap, foldPrefix(r.Number))
		l := lacks[r.ID]
		d := BackupDatabase{Name: name, ID: r.ID, Lacks: l[:min(len(l), maxLacks)]}
		if ok {
			d.Hash = f.Hash.String()
		}
		m.Databases = append(m.Databases, d)
		return err
	})
}
