package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path"
	"path/filepath"

	"github.com/weftdb/weft/node/internal/rows"

	"github.com/weftdb/weft/db/replica"
	"github.com/weftdb/weft/internal/durable"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/internal/store/engines"
	"github.com/weftdb/weft/net"
	"github.com/weftdb/weft/node/internal/archive"
	"github.com/weftdb/weft/node/internal/homedir"
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
	if err := homedir.CheckEmpty(dir); err != nil {
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

// An unpacker makes a home of what a backup holds.
type unpacker struct {
	root *os.Root
	st   store.Store
	tx   store.Tx
}

// unpack makes the files and the store of a home, compares what it has read with
// the manifest, and has the threads begin new logs.
func unpack(ctx context.Context, r io.Reader, dir string) (m Manifest, err error) {
	in, err := archive.Open(r)
	if err != nil {
		return m, err
	}
	defer in.Close()
	u := &unpacker{}
	if u.root, err = os.OpenRoot(dir); err != nil {
		return m, fmt.Errorf("restore: %w", err)
	}
	defer func() { err = errors.Join(err, u.root.Close()) }()
	if u.st, err = engines.Open(filepath.Join(dir, homedir.DirStore), &engines.Options{Engine: in.Engine}); err != nil {
		return m, err
	}
	defer func() {
		if u.tx != nil {
			u.tx.Discard()
		}
		err = errors.Join(err, u.st.Close())
	}()
	if m, err = in.Read(ctx, u); err != nil {
		return m, err
	}
	if u.tx != nil {
		err = u.tx.Commit()
		u.tx = nil
	}
	if err = errors.Join(err, u.st.Sync()); err != nil {
		return m, err
	}
	if err := u.compare(m); err != nil {
		return m, err
	}
	return m, net.Restored(u.st)
}

// VerifyBackup reads a backup and compares every hash in it, as Restore does, without
// keeping anything of it.
func VerifyBackup(ctx context.Context, r io.Reader) (m Manifest, err error) {
	in, err := archive.Open(r)
	if err != nil {
		return m, err
	}
	defer in.Close()
	return in.Read(ctx, nothing{})
}

// nothing keeps nothing of a backup.
type nothing struct{}

func (nothing) File(name string, _ []byte) error { return checkInBackup(name) }

func (nothing) Put(_, _ []byte) error { return nil }

// checkInBackup refuses the names of files that no backup has.
func checkInBackup(name string) error {
	if !homedir.InBackup(name) || path.Clean(name) != name || !filepath.IsLocal(filepath.FromSlash(name)) {
		return fault.Of(ErrBackup, "the backup has a file %.80q, which no home has", name)
	}
	return nil
}

// File writes one file of a home below the root, which nothing leaves, links included.
func (u *unpacker) File(name string, data []byte) error {
	if err := checkInBackup(name); err != nil {
		return err
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

// Put adds a pair, and commits a transaction that is full: until all is compared nobody
// uses the store, so that it need not be one.
func (u *unpacker) Put(k, v []byte) error {
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

// compare compares the databases that were read with what the manifest says.
func (u *unpacker) compare(m Manifest) error {
	want := map[string]BackupDatabase{}
	for _, d := range m.Databases {
		want[d.Name] = d
	}
	snap := u.st.Snapshot()
	defer snap.Release()
	return rows.EachIn(snap, prefixDatabase, func(name string, r databaseRow) error {
		f, ok, err := replica.PeekState(snap, foldPrefix(r.Number))
		if w := want[name]; err == nil && (w.ID != r.ID || ok && w.Hash != f.Hash.String()) {
			err = fault.Of(ErrBackup, "database %s of the backup is in another state than the manifest says", name)
		}
		return err
	})
}
